// Types of huntaze-toasts.js. Those of the API are in hub-types.d.ts, beside this file.

import type { ItemOut } from "./hub-types";

/** A notification in the user's inbox. */
export type InboxItem = Readonly<ItemOut>;

/** Where the connection to the hub stands. */
export type LinkState = "connecting" | "online" | "offline" | "signed-out";

/** Why a token is asked for. */
export type TokenReason = "missing" | "expiring" | "refused";

/** Gives a user token; null where nobody is signed in. */
export type GetToken = (
  reason: TokenReason,
) => string | null | undefined | Promise<string | null | undefined>;

/** The attributes of `<huntaze-toasts>`, as they are written in HTML. */
export interface HuntazeToastsAttributes {
  /** The user token. A new one of the same user goes on where the last one ended. */
  token?: string;
  /** Where the hub is; by default, where the script came from. */
  hub?: string;
  /** `en` or `fr`; by default, the language of the page around it, else of the browser. */
  locale?: string;
  /** By default, as the system. */
  theme?: "light" | "dark";
  /** Where toasts pop up. */
  position?: "bottom-right" | "bottom-left" | "top-right" | "top-left";
  /** How long a toast stays, in milliseconds (6000). Failures stay until they are closed. */
  duration?: number | string;
  /** How many toasts there are at once (3). */
  "max-toasts"?: number | string;
  /** How many items the list holds at once (100; 50 to 500). */
  limit?: number | string;
  /** Present: no toasts pop up. */
  "no-toasts"?: boolean | "";
  /** Present: there is no bell; `open()` shows the list. */
  "no-bell"?: boolean | "";
}

export interface HuntazeToastsEvents {
  /** Something has come. `preventDefault()`: no toast pops up for it. */
  "huntaze-notification": CustomEvent<{ item: InboxItem }>;
  /** The unread count has changed. */
  "huntaze-unread": CustomEvent<{ unread: number }>;
  /** An item was followed. `preventDefault()`: you go to its `url` yourself, as routers do. */
  "huntaze-open": CustomEvent<{ item: InboxItem; url: string | null }>;
  /** The connection has changed. */
  "huntaze-state": CustomEvent<{ state: LinkState }>;
  /** A token is needed, and there is no `getToken`. Call `provide` before the listener returns. */
  "huntaze-token": CustomEvent<{
    reason: TokenReason;
    provide: (token: string | null | Promise<string | null>) => void;
  }>;
}

export class HuntazeToasts extends HTMLElement {
  /** The attribute of the same name. */
  token: string | null;
  /** The attribute of the same name. */
  hub: string | null;
  /** The attribute of the same name. */
  locale: string | null;
  /** Where tokens come from: called when there is none, it is about to expire, or was refused. */
  getToken: GetToken | null;
  /** How many items are unread. */
  readonly unread: number;
  /** What the list holds, newest first. */
  readonly items: InboxItem[];
  readonly state: LinkState;
  /** Show the list. */
  open(): void;
  /** Hide it. */
  close(): void;
  /** Look after the connection, and fetch what is new, now. */
  refresh(): Promise<boolean>;
  /** Each resolves to whether it worked; the user has been told where it did not. */
  markRead(id: string): Promise<boolean>;
  markUnread(id: string): Promise<boolean>;
  archive(id: string): Promise<boolean>;
  readAll(): Promise<boolean>;

  addEventListener<K extends keyof HuntazeToastsEvents>(
    type: K,
    listener: (this: HuntazeToasts, event: HuntazeToastsEvents[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof HuntazeToastsEvents>(
    type: K,
    listener: (this: HuntazeToasts, event: HuntazeToastsEvents[K]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | EventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "huntaze-toasts": HuntazeToasts;
  }
}
