// Types of the Huntaze hub's API. Made from its OpenAPI document by scripts/hub_types.py:
// change the API, run that, and commit what it writes.

/** What an action that needs nothing else may be sent: whose thing it is about. */
export type ActionIn = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
};

/** The process answers. */
export type Alive = {
  status?: "ok";
};

/** One try at a delivery. */
export type AttemptOut = {
  number: number;
  round: number;
  at: string;
  durationMs: number;
  outcome: string;
  status: number | null;
  detail: string | null;
};

/** One item for each event, in the order sent. */
export type BatchAnswer = {
  items: {
    id: string | null;
    status: number;
    duplicate?: boolean;
    problem?: Problem;
  }[];
};

/** Where a Web PubSub client connects, and the subprotocol that it speaks. */
export type ClientOut = {
  url: string;
  protocol: string;
};

/** CloudEvents 1.0 in JSON, with the hub's extensions. */
export type CloudEvent = {
  specversion: "1.0";
  /** Unique in the tenant: sent again, the event is a duplicate. Ids of the forms that the hub gives to its own events are refused: `<jobId>.queued`, `.started.<run>`, `.progress.<run>.<n>`, `.retrying.<run>`, `.end`, `<endpointId>.disabled.…`, `budget.<month>.<share>`. */
  id: string;
  source: string;
  type: string;
  /** What it is about. */
  subject?: string | null;
  /** When it happened, with a zone; now where it is left out. */
  time?: string | null;
  datacontenttype?: "application/json" | null;
  /** The Huntaze account; with a tenant's key it may be left out. */
  tenantid?: string | null;
  /** Whom it concerns; the tenant's owners where it is left out. */
  userid?: string | null;
  /** The job that it tells of. */
  jobid?: string | null;
  /** That job's type. */
  jobtype?: string | null;
  traceparent?: string | null;
  data?: Record<string, unknown> | null;
} & ({
  type?: "budget.threshold";
  data: DataBudgetThreshold;
} | {
  type?: "endpoint.disabled";
  data: DataEndpointDisabled;
} | {
  type?: "job.cancelled";
  data: DataJobCancelled;
} | {
  type?: "job.expired";
  data: DataJobExpired;
} | {
  type?: "job.failed";
  data: DataJobFailed;
} | {
  type?: "job.progress";
  data: DataJobProgress;
} | {
  type?: "job.queued";
  data: DataJobQueued;
} | {
  type?: "job.retrying";
  data: DataJobRetrying;
} | {
  type?: "job.started";
  data: DataJobStarted;
} | {
  type?: "job.succeeded";
  data: DataJobSucceeded;
} | {
  type?: "message.received";
  data: DataMessageReceived;
} | {
  type?: "payment.received";
  data: DataPaymentReceived;
} | {
  type?: "webhook.test";
  data: DataWebhookTest;
});

/** A message that nobody could deal with, and why. */
export type DeadLetterOut = {
  subscription: string;
  sequenceNumber: number;
  reason: string;
  description: string;
  deadAt: string;
  enqueuedAt: string;
  deliveryCount: number;
  messageId: string;
  subject: string | null;
  contentType: string | null;
  properties: Record<string, string | number | boolean>;
  /** How `body` is written here. */
  bodyEncoding: "json" | "base64";
  /** How long it is, whatever is shown of it. */
  bodyBytes: number;
  /** JSON where it is JSON and short; else its beginning. */
  body: unknown;
};

/** Dead letters, by subscription and number. */
export type DeadLetterPage = {
  items: DeadLetterOut[];
  nextCursor: string | null;
};

/** One event to one target, with all that was tried. */
export type DeliveryOut = {
  id: string;
  eventId: string;
  channel: "realtime" | "email" | "webhook";
  target: string | null;
  state: "pending" | "delivered" | "skipped" | "parked" | "exhausted";
  reason: string | null;
  round: number;
  nextAttemptAt: string | null;
  createdAt: string;
  attempts: AttemptOut[];
};

/** Deliveries, newest first. */
export type DeliveryPage = {
  items: DeliverySummary[];
  nextCursor: string | null;
};

/** One event to one target. */
export type DeliverySummary = {
  id: string;
  eventId: string;
  channel: "realtime" | "email" | "webhook";
  target: string | null;
  state: "pending" | "delivered" | "skipped" | "parked" | "exhausted";
  reason: string | null;
  round: number;
  nextAttemptAt: string | null;
  createdAt: string;
};

/** A new endpoint; it asks for every type (`*`) where it names none. */
export type EndpointIn = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
  /** https; no credentials in it. */
  url: string;
  /** `*`, a type, or `job.*` for all that begin with `job.`. */
  eventTypes?: string[];
  description?: string;
  /** Sent with every attempt. */
  headers?: Record<string, string>;
  /** `v1` is always sent; `v1a` where asked for. */
  signatures?: ("v1" | "v1a")[];
  /** The most attempts that are begun within a second; null is no limit. */
  ratePerSecond?: number | null;
};

/** An endpoint. Values of headers that carry credentials are hidden as `***`. */
export type EndpointOut = {
  id: string;
  url: string;
  eventTypes: string[];
  description: string;
  headers: Record<string, string>;
  signatures: ("v1" | "v1a")[];
  ratePerSecond: number | null;
  state: "active" | "paused" | "disabled";
  stateReason: string | null;
  publicKey: string;
  health: HealthOut;
  createdAt: string;
};

/** Endpoints, oldest first. */
export type EndpointPage = {
  items: EndpointOut[];
  nextCursor: string | null;
};

/** What is to change; what is left out stays. */
export type EndpointPatch = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
  /** https; no credentials in it. */
  url?: string;
  /** `*`, a type, or `job.*` for all that begin with `job.`. */
  eventTypes?: string[];
  description?: string;
  /** Sent with every attempt. */
  headers?: Record<string, string>;
  /** `v1` is always sent; `v1a` where asked for. */
  signatures?: ("v1" | "v1a")[];
  /** The most attempts that are begun within a second; null is no limit. */
  ratePerSecond?: number | null;
};

/** An endpoint and its secret, which is shown this once. */
export type EndpointWithSecret = {
  id: string;
  url: string;
  eventTypes: string[];
  description: string;
  headers: Record<string, string>;
  signatures: ("v1" | "v1a")[];
  ratePerSecond: number | null;
  state: "active" | "paused" | "disabled";
  stateReason: string | null;
  publicKey: string;
  health: HealthOut;
  createdAt: string;
  secret: string;
};

/** An event with everything that became of it. */
export type EventOut = {
  event: Record<string, unknown>;
  state: "accepted" | "routed";
  acceptedAt: string;
  deliveries: DeliveryOut[];
};

/** Events, newest first. */
export type EventPage = {
  items: EventSummary[];
  nextCursor: string | null;
};

/** An event, and whether every channel that carries it has its deliveries. */
export type EventSummary = {
  event: Record<string, unknown>;
  state: "accepted" | "routed";
  acceptedAt: string;
};

/** One type of event. */
export type EventTypeOut = {
  type: string;
  versions: string[];
  channels: string[];
  description: string;
  schema: Record<string, unknown>;
  example: Record<string, unknown>;
};

/** All of them, by name: there is never a next page. */
export type EventTypePage = {
  items: EventTypeOut[];
  nextCursor?: string | null;
};

/** How it has been doing, over its last 20 deliveries. */
export type HealthOut = {
  lastAttemptAt: string | null;
  lastSuccessAt: string | null;
  recentFailures: number;
};

/** Items; with `after` the lowest `seq` first, else the newest first. */
export type InboxPage = {
  items: ItemOut[];
  nextCursor: string | null;
};

/** A notification in a user's inbox. */
export type ItemOut = {
  id: string;
  seq: number;
  eventId: string;
  type: string;
  title: string;
  body: string;
  url: string | null;
  state: "unread" | "read" | "archived";
  progress: number | null;
  createdAt: string;
  updatedAt: string;
};

/** A new key. */
export type KeyIn = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
  name?: string;
};

/** A key, without its text. */
export type KeyOut = {
  id: string;
  tenantId: string;
  name: string;
  createdAt: string;
};

/** Keys, oldest first. */
export type KeyPage = {
  items: KeyOut[];
  nextCursor: string | null;
};

/** A key with its text, which is shown this once. */
export type KeyWithText = {
  id: string;
  tenantId: string;
  name: string;
  createdAt: string;
  key: string;
};

/** How many there were, and whether there are more. */
export type MovedOut = {
  dryRun: boolean;
  count: number;
  reasons: Record<string, number>;
  /** What dies from now on has a higher number. */
  upTo: number;
  nextCursor: string | null;
};

/** What went wrong (RFC 9457). */
export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  errors?: {
    /** JSON pointer into the body; empty for the whole of it. */
    pointer: string;
    detail: string;
  }[];
};

/** Published */
export type Published = {
  id: string;
  duplicate: boolean;
};

/** The hub can work. */
export type Ready = {
  status?: "ready";
  checks: string[];
  degraded: Record<string, string>;
  sweepAgeSeconds: number | null;
};

/** What is to be replayed. `states` says what is taken up: deliveries that are `exhausted` or `parked`, and events that the endpoint asks for and never got (`absent`), where it is left out. `delivered` and `skipped` ones are taken up again when asked for. */
export type ReplayIn = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
  /** RFC 3339, with a zone. */
  since: string;
  until?: string | null;
  /** As an endpoint's. */
  eventTypes?: string[];
  states?: ("exhausted" | "parked" | "absent" | "delivered" | "skipped")[];
  /** Only say how much it would be. */
  dryRun?: boolean;
};

/** A replay, and how far it is. `total` is how much there was when it began; `retried` deliveries began a new round, and `added` ones were made, for events that the endpoint never got. While it runs, `reason` says what it waits for. */
export type ReplayOut = {
  id: string;
  endpointId: string;
  since: string;
  until: string;
  eventTypes: string[];
  states: ("exhausted" | "parked" | "absent" | "delivered" | "skipped")[];
  state: "running" | "done" | "cancelled";
  reason: string | null;
  total: number;
  retried: number;
  added: number;
  askedBy: string;
  createdAt: string;
  updatedAt: string;
};

/** Replays, newest first. */
export type ReplayPage = {
  items: ReplayOut[];
  nextCursor: string | null;
};

/** What a replay would take up now. */
export type ReplayPreview = {
  dryRun: true;
  endpointId: string;
  matching: Record<string, number>;
  total: number;
};

/** Which dead letters are meant: those to which everything that is said applies. */
export type Selection = {
  /** Whose dead letters. */
  subscription: string;
  /** Those that died of it. */
  reason?: string | null;
  /** Those with these numbers. */
  sequenceNumbers?: number[] | null;
  /** Those that died before that time (RFC 3339). */
  before?: string | null;
  /** Those up to this number: as a dry run said it. */
  upTo?: number | null;
  /** Only say how many it would be. */
  dryRun?: boolean;
  /** How many at most. */
  limit?: number;
  /** `nextCursor` of the answer before, to go on. */
  cursor?: string | null;
};

/** Where a SignalR client goes on, and the access token that it shows there. */
export type SignalROut = {
  url: string;
  accessToken: string;
};

/** The same, for an action in a user's inbox. */
export type SubjectIn = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
  /** With an API key: the user, here or in the query. */
  userId?: string | null;
};

/** Why an address gets no mail any more. */
export type SuppressionIn = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
  reason: string;
};

/** An address that gets no mail, why, and since when. */
export type SuppressionOut = {
  address: string;
  reason: string;
  createdAt: string;
};

/** Suppressed addresses, in their order. */
export type SuppressionPage = {
  items: SuppressionOut[];
  nextCursor: string | null;
};

/** What a tenant sets up, whole: what is left out takes its default. */
export type TenantIn = {
  name?: string | null;
  locale?: "fr" | "en";
  monthlyBudgetUsd?: number | null;
  /** Whether new jobs are refused once the budget is spent. */
  refuseOverBudget?: boolean;
};

/** A tenant. */
export type TenantOut = {
  id: string;
  name: string | null;
  locale: "fr" | "en";
  monthlyBudgetUsd: number | null;
  refuseOverBudget: boolean;
};

/** Whose token, and for how long. */
export type TokenIn = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
  /** Unique in the tenant; no spaces. */
  userId: string;
  expiresInSeconds?: number;
};

/** A token that opens one user's inbox and negotiate, and nothing else. */
export type TokenOut = {
  token: string;
  expiresAt: string;
};

/** How many are unread. */
export type UnreadOut = {
  unread: number;
};

/** A user, whole: what is left out takes its default. */
export type UserIn = {
  /** With the admin's key: the tenant. With a tenant's key it may be left out. */
  tenantId?: string | null;
  email?: string | null;
  name?: string | null;
  locale?: "fr" | "en";
  timezone?: string;
  role?: "owner" | "member";
};

/** A user. */
export type UserOut = {
  id: string;
  email: string | null;
  name: string | null;
  locale: "fr" | "en";
  timezone: string;
  role: "owner" | "member";
};

/** A share of the tenant's monthly budget for AI jobs has been spent. Sent once for each threshold and month. */
export type DataBudgetThreshold = {
  /** The threshold that was reached, in percent of the budget. */
  thresholdPercent: number;
  /** Spent so far this month, in US dollars. */
  spentUsd: number;
  /** The month's budget, in US dollars. */
  budgetUsd: number;
  /** The month, as YYYY-MM in UTC. */
  month: string;
  /** Whether new jobs are refused until the month ends or the budget is raised. */
  refusing?: boolean;
  /** Where the budget can be changed. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** A webhook endpoint was switched off. Its deliveries wait until it is resumed, for a limited time. */
export type DataEndpointDisabled = {
  /** The endpoint. */
  endpointId: string;
  /** Where the endpoint received its deliveries. */
  url: string;
  /** Short and constant: `gone` where it answered 410, `failing` where nothing succeeded for five days, `manual` where somebody switched it off. */
  reason: string;
  /** For how many days its deliveries are kept. */
  parkDays?: number;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** A job was cancelled on request. Terminal: no other event of this job follows. */
export type DataJobCancelled = {
  /** The kind of work, e.g. `video.analysis`, `chat.suggest`, `content.suggest` or `content.analyze`. The same as the event's `jobtype`. */
  jobType: string;
  /** Which run of the job this is, from 1: it grows with every retry. */
  run?: number;
  usage?: DataJobCancelledUsage;
  /** What the user calls the thing that the job works on, such as a file's name. Shown with the job's name. */
  title?: string;
  /** Where the job can be asked for again. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** What the job used, over all of its runs. */
export type DataJobCancelledUsage = {
  /** The model that answered; `offline` where the built-in deterministic model did. */
  model: string;
  /** Tokens sent to the model. */
  inputTokens: number;
  /** Tokens the model answered with. */
  outputTokens: number;
  /** What the model cost, in US dollars. */
  costUsd: number;
  /** Milliseconds from acceptance to the first run. */
  queueMs: number;
  /** Milliseconds spent running. */
  runMs: number;
};

/** A job passed its deadline before it was done. Terminal: no other event of this job follows. */
export type DataJobExpired = {
  /** The kind of work, e.g. `video.analysis`, `chat.suggest`, `content.suggest` or `content.analyze`. The same as the event's `jobtype`. */
  jobType: string;
  /** Which run of the job this is, from 1: it grows with every retry. */
  run?: number;
  /** Milliseconds from acceptance to the deadline. */
  afterMs?: number;
  usage?: DataJobExpiredUsage;
  /** What the user calls the thing that the job works on, such as a file's name. Shown with the job's name. */
  title?: string;
  /** Where the job can be asked for again. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** What the job used, over all of its runs. */
export type DataJobExpiredUsage = {
  /** The model that answered; `offline` where the built-in deterministic model did. */
  model: string;
  /** Tokens sent to the model. */
  inputTokens: number;
  /** Tokens the model answered with. */
  outputTokens: number;
  /** What the model cost, in US dollars. */
  costUsd: number;
  /** Milliseconds from acceptance to the first run. */
  queueMs: number;
  /** Milliseconds spent running. */
  runMs: number;
};

/** A job ended without a result: no retry is left, or none would help. Terminal: no other event of this job follows. */
export type DataJobFailed = {
  /** The kind of work, e.g. `video.analysis`, `chat.suggest`, `content.suggest` or `content.analyze`. The same as the event's `jobtype`. */
  jobType: string;
  /** Which run of the job this is, from 1: it grows with every retry. */
  run?: number;
  error: DataJobFailedError;
  usage?: DataJobFailedUsage;
  /** What the user calls the thing that the job works on, such as a file's name. Shown with the job's name. */
  title?: string;
  /** Where the job can be looked at or asked for again. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** What the job used, over all of its runs. */
export type DataJobFailedUsage = {
  /** The model that answered; `offline` where the built-in deterministic model did. */
  model: string;
  /** Tokens sent to the model. */
  inputTokens: number;
  /** Tokens the model answered with. */
  outputTokens: number;
  /** What the model cost, in US dollars. */
  costUsd: number;
  /** Milliseconds from acceptance to the first run. */
  queueMs: number;
  /** Milliseconds spent running. */
  runMs: number;
};

/** Why it went wrong. */
export type DataJobFailedError = {
  /** Short and constant, to decide by. `invalid-input`, `media-unreadable`, `content-refused`, `model-unavailable`, `invalid-result`, `timeout` and `internal` are explained to users in their language. */
  code: string;
  /** What exactly went wrong, for a person who looks into it. */
  message: string;
};

/** How far a run has come. Progress is a state: a later event of the same job replaces an earlier one. */
export type DataJobProgress = {
  /** The kind of work, e.g. `video.analysis`, `chat.suggest`, `content.suggest` or `content.analyze`. The same as the event's `jobtype`. */
  jobType: string;
  /** Which run of the job this is, from 1: it grows with every retry. */
  run: number;
  /** How much is done, in percent. */
  progress: number;
  /** What the worker is doing now, as a short constant name; named to users in their language where the job type's texts know it (`reading`, `frames`, `audio`, `model`, `checking`). */
  step?: string;
  /** What the user calls the thing that the job works on, such as a file's name. Shown with the job's name. */
  title?: string;
  /** Where the job can be followed. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** A job was accepted and waits for a worker. */
export type DataJobQueued = {
  /** The kind of work, e.g. `video.analysis`, `chat.suggest`, `content.suggest` or `content.analyze`. The same as the event's `jobtype`. */
  jobType: string;
  /** What the user calls the thing that the job works on, such as a file's name. Shown with the job's name. */
  title?: string;
  /** Where the job can be followed. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** A run failed; another one is going to be made. */
export type DataJobRetrying = {
  /** The kind of work, e.g. `video.analysis`, `chat.suggest`, `content.suggest` or `content.analyze`. The same as the event's `jobtype`. */
  jobType: string;
  /** Which run of the job this is, from 1: it grows with every retry. */
  run: number;
  /** How many runs there are at most. */
  runs?: number;
  /** Milliseconds until the next run. */
  delayMs?: number;
  error: DataJobRetryingError;
  /** What the user calls the thing that the job works on, such as a file's name. Shown with the job's name. */
  title?: string;
  /** Where the job can be followed. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** Why it went wrong. */
export type DataJobRetryingError = {
  /** Short and constant, to decide by. `invalid-input`, `media-unreadable`, `content-refused`, `model-unavailable`, `invalid-result`, `timeout` and `internal` are explained to users in their language. */
  code: string;
  /** What exactly went wrong, for a person who looks into it. */
  message: string;
};

/** A worker began a run of a job. */
export type DataJobStarted = {
  /** The kind of work, e.g. `video.analysis`, `chat.suggest`, `content.suggest` or `content.analyze`. The same as the event's `jobtype`. */
  jobType: string;
  /** Which run of the job this is, from 1: it grows with every retry. */
  run: number;
  /** What the user calls the thing that the job works on, such as a file's name. Shown with the job's name. */
  title?: string;
  /** The model that is going to be asked. */
  model?: string;
  /** Milliseconds from acceptance to this run. */
  queueMs?: number;
  /** Where the job can be followed. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** A job is done and its result can be read. Terminal: no other event of this job follows. */
export type DataJobSucceeded = {
  /** The kind of work, e.g. `video.analysis`, `chat.suggest`, `content.suggest` or `content.analyze`. The same as the event's `jobtype`. */
  jobType: string;
  /** Which run of the job this is, from 1: it grows with every retry. */
  run: number;
  usage: DataJobSucceededUsage;
  /** The result in one to three sentences, in the user's language. */
  summary?: string;
  /** What the user calls the thing that the job works on, such as a file's name. Shown with the job's name. */
  title?: string;
  /** Where the result can be seen. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** What the job used, over all of its runs. */
export type DataJobSucceededUsage = {
  /** The model that answered; `offline` where the built-in deterministic model did. */
  model: string;
  /** Tokens sent to the model. */
  inputTokens: number;
  /** Tokens the model answered with. */
  outputTokens: number;
  /** What the model cost, in US dollars. */
  costUsd: number;
  /** Milliseconds from acceptance to the first run. */
  queueMs: number;
  /** Milliseconds spent running. */
  runMs: number;
};

/** Somebody wrote to the user. */
export type DataMessageReceived = {
  /** Who wrote. */
  from: {
    /** The sender in your system. */
    id?: string;
    /** The name to show. */
    name: string;
  };
  /** How the message begins. */
  preview?: string;
  /** The conversation it belongs to. */
  conversationId?: string;
  /** How many files came with it. */
  attachments?: number;
  /** Where the message can be read. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** Money arrived for the user. */
export type DataPaymentReceived = {
  /** The amount in the currency's minor units (ISO 4217): 4900 is 49.00 EUR, 4900 JPY is 4900 yen. */
  amount: number;
  /** ISO 4217 code in capitals. */
  currency: string;
  /** Who paid. */
  payer: {
    /** The payer in your system. */
    id?: string;
    /** The name to show. */
    name: string;
  };
  /** What was paid for, in the user's language. */
  description?: string;
  /** The payment's reference, as it appears on statements. */
  reference?: string;
  /** Where the payment can be seen. An http or https URL, or a path within Huntaze that begins with one slash. */
  url?: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};

/** Sent to one endpoint when somebody asks for a test. No user is told of it. */
export type DataWebhookTest = {
  /** The endpoint under test. */
  endpointId: string;
  /** A text that says it is a test. */
  message: string;
  /** Your own values. The hub shows them nowhere and passes them on to webhooks unchanged. */
  metadata?: Record<string, string | number | boolean>;
};
