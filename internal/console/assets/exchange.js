// One request and its answer.

const attemptTimeoutMs = 20_000; // the service itself answers within 15 s

let apiKey = "";

export function useAPIKey(key) {
  apiKey = key;
}

// Answer is the answer of an exchange. Its status is 0 if there was none.
export class Answer {
  constructor({ status = 0, headers = new Headers(), text = "", reason = "" }) {
    this.status = status;
    this.headers = headers;
    this.text = text; // the body
    this.reason = reason; // why there is no answer
    this.tookMs = 0;
  }

  get replayed() {
    return this.headers.get("Idempotent-Replayed") === "true";
  }

  // value is the body as JSON; null if it is not JSON.
  get value() {
    try {
      return JSON.parse(this.text);
    } catch {
      return null;
    }
  }

  // yes tells whether the answer is a success of the service. A gateway may answer 200 to anything.
  get yes() {
    const success = this.status >= 200 && this.status < 300;
    return this.status === 204 || success && this.isOfType("application/json");
  }

  // problem is the problem document in the answer (RFC 9457); null if there is none. A gateway's
  // has no code.
  get problem() {
    const described = this.isOfType("application/problem+json") ? this.value : null;
    return described?.status === this.status && described.code ? described : null;
  }

  isOfType(type) {
    return this.headers.get("Content-Type")?.split(";")[0].trim() === type;
  }

  // retryAfterMs is the wait that the service asks for.
  get retryAfterMs() {
    return 1000 * (Number(this.headers.get("Retry-After")) || 0);
  }
}

// exchange sends a request once. It never throws: a missing answer is an Answer with status 0.
export async function exchange(method, path, { key, ifMatch, body } = {}) {
  const headers = new Headers({
    Authorization: "Bearer " + apiKey, Accept: "application/json, application/problem+json",
  });
  if (body !== undefined) {
    headers.set("Content-Type", "application/json");
  }
  if (key) {
    headers.set("Idempotency-Key", key);
  }
  if (ifMatch) {
    headers.set("If-Match", ifMatch);
  }
  const sentAt = performance.now();
  const answer = await attempt(path, { method, headers, body });
  answer.tookMs = Math.round(performance.now() - sentAt);
  return answer;
}

async function attempt(path, request) {
  try {
    const response = await fetch(path, {
      ...request, cache: "no-store", credentials: "omit", redirect: "error",
      signal: AbortSignal.timeout(attemptTimeoutMs),
    });
    const { status, headers } = response;
    return new Answer({ status, headers, text: await response.text() });
  } catch (error) {
    const late = `no answer within ${attemptTimeoutMs / 1000} s`;
    return new Answer({
      reason: error.name === "TimeoutError" ? late : "no connection, or a broken one",
    });
  }
}

// openStream opens a stream of server-sent events behind the last event that is known; "": none.
// It never throws: it returns the body of the stream, or a failure, which is an Answer.
export async function openStream(path, lastEventID, signal) {
  const sent = new Headers({
    Authorization: "Bearer " + apiKey, Accept: "text/event-stream, application/problem+json",
  });
  if (lastEventID) {
    sent.set("Last-Event-ID", lastEventID);
  }
  try {
    const response = await fetch(path, {
      method: "GET", headers: sent, cache: "no-store", credentials: "omit", redirect: "error",
      signal,
    });
    const { status, headers } = response;
    const answer = new Answer({ status, headers });
    if (status === 200 && answer.isOfType("text/event-stream")) {
      return { body: response.body };
    }
    answer.text = await response.text();
    return { failure: answer };
  } catch {
    return { failure: new Answer({ reason: "no connection, or a broken one" }) };
  }
}

// get sends a GET. It throws an Answer that is not a success.
export async function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value);
  const search = given.length > 0 ? "?" + new URLSearchParams(given) : "";
  const answer = await exchange("GET", path + search);
  if (!answer.yes) {
    throw answer;
  }
  return answer;
}
