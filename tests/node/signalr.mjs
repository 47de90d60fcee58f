// Microsoft's SignalR client for JavaScript, with its defaults.
// Usage: node signalr.mjs <hub url> <user token>
// Out: one JSON object per line: {"what": "connected", "id"}, {"what": "pushed", "data"}, …; ends
//      when its stdin does.
import { HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const [url, token] = process.argv.slice(2);
const say = (document) => console.log(JSON.stringify(document));
const connection = new HubConnectionBuilder()
  .withUrl(url, { accessTokenFactory: () => token })
  .withAutomaticReconnect([0, 50, 100, 200, 400])
  .configureLogging(LogLevel.None)
  .build();

connection.on("notification", (data) => say({ what: "pushed", data }));
connection.onreconnected((id) => say({ what: "reconnected", id }));
connection.onclose((error) => say({ what: "closed", message: String(error) }));

try {
  await connection.start();
  say({ what: "connected", id: connection.connectionId });
  const answer = await connection.invoke("anything").catch((error) => String(error));
  say({ what: "answered", message: answer });
} catch (error) {
  say({ what: "failed", message: String(error) });
}
process.stdin.resume();
process.stdin.on("end", async () => {
  await connection.stop();
  process.exit(0);
});
