// Serves a route handler of web requests, as Next.js has them, on a free port: node serve-route.mjs FILE
import { once } from "node:events";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

const { POST } = await import(pathToFileURL(process.argv[2]));

const server = createServer(async (incoming, outgoing) => {
  const parts = [];
  for await (const part of incoming) parts.push(part);
  const answer = await POST(
    new Request("http://localhost/", {
      method: "POST",
      headers: incoming.headers,
      body: Buffer.concat(parts),
    }),
  );
  outgoing.writeHead(answer.status).end(await answer.text());
});
server.listen(Number(process.env.PORT), "127.0.0.1");
await once(server, "listening");
