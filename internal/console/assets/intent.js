// An intent is a request that moves money, and its key.
//
// This file does everything that "exactly once" needs in a browser. The key exists before the
// first attempt, and the request is stored with it. So the same request can be sent again after a
// lost answer or a reload. Every attempt has the same key and the same bytes. The service does
// the rest.

import { exchange } from "./exchange.js";

const attemptsMax = 6;
const backoffBaseMs = 200;
const backoffMaxMs = 5_000;
const retryAfterMaxMs = 30_000; // a person does not want to wait longer without an answer

// newKey makes a random key of 128 bits. (crypto.randomUUID exists only with TLS or on this
// machine.)
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return "console-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// newIntent makes an intent. what describes it in words.
export const newIntent = ({ key, what, path, body }) =>
  ({ key, what, path, body: JSON.stringify(body) });

// The outcomes of an intent.
export const outcome = {
  done: "done", // by this request or by an earlier one under the key
  declined: "declined", // stored with the key: another attempt is a new intent, with a new key
  taken: "taken", // the key or the reference belongs to another request
  refused: "refused", // nothing was done, and the key is free: the request may be corrected
  unknown: "unknown", // the same request under the same key finds out
};

// The intents of this tab, until their outcome was shown. sent tells that there may have been an
// attempt. came is the outcome, once it is known. The session storage survives a reload. It
// belongs to the tab, like the API key: with another merchant's API key a stored request would be
// another intent.
const storageName = "paymentsvc.unfinished";

export const unfinished = () => JSON.parse(sessionStorage.getItem(storageName) ?? "[]");

export const keep = (intent) => store([...others(intent), intent]);

export const forget = (intent) => store(others(intent));

const others = (intent) => unfinished().filter(({ key }) => key !== intent.key);

function store(intents) {
  if (!ended) {
    sessionStorage.setItem(storageName, JSON.stringify(intents));
  }
}

// end stops all sending and forgets everything, together with the API key. A page lives on for a
// while before a reload.
export function end() {
  ended = true;
  sessionStorage.clear();
}

let ended = false;

// The keys of the intents that are being sent. Each has one sender: two senders would not know
// each other's answers.
const sending = new Set();

export const isBeingSent = ({ key }) => sending.has(key);

// send sends the intent until its outcome is known, or the attempts are used up. It calls
// onAttempt with each answer and the pause that follows (in ms), if there is one. It throws, and
// sends nothing, if the intent cannot be stored or is being sent already. attempt sends one
// request.
export async function send(intent, { onAttempt, attempt = exchange }) {
  // A refusal says nothing about an earlier attempt, which may still be under way. Only the
  // answer of the key itself is final, or a problem that says the key belongs to another request.
  // That includes attempts before a reload.
  let open = intent.sent || unfinished().some(({ key, sent }) => key === intent.key && sent);
  if (sending.has(intent.key)) {
    throw new Error("It is being sent already.");
  }
  keep({ ...intent, sent: true });
  sending.add(intent.key);
  try {
    for (let n = 1; ; n++) {
      if (ended) {
        throw new Error("The API key was forgotten.");
      }
      const answer = await attempt("POST", intent.path, { key: intent.key, body: intent.body });
      const { came, effect, again } = judge(answer);
      open = (open || effect === "maybe") && effect !== "known";
      if (!again || n === attemptsMax || answer.retryAfterMs > retryAfterMaxMs) {
        onAttempt(answer);
        return { came: open ? outcome.unknown : came, answer };
      }
      const pauseMs = answer.retryAfterMs + fullJitterMs(n);
      onAttempt(answer, pauseMs);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  } finally {
    sending.delete(intent.key);
  }
}

// judge derives from an answer the outcome of the intent, the effect of the attempt (none, known,
// or maybe), and whether to send the request again.
function judge(answer) {
  const problem = answer.problem;
  if (answer.yes && /^(pay|ref)_/.test(answer.value?.id)) {
    return { came: outcome.done, effect: "known", again: false };
  }
  if (!problem) { // no answer, or not from the service: a gateway may have forwarded the request
    const again = [0, 429, 502, 503, 504].includes(answer.status);
    return { came: outcome.unknown, effect: "maybe", again };
  }
  switch (problem.code) {
    case "rate_limited":
    case "overloaded":
    case "unavailable": // refused before it was executed
      return { came: outcome.refused, effect: "none", again: true };
    case "idempotency_key_in_progress":
    case "outcome_unknown":
      return { came: outcome.unknown, effect: "maybe", again: true };
    case "duplicate_reference":
      // The key is free. After a cancellation of the other payment, an earlier attempt could
      // charge.
      return { came: outcome.taken, effect: "none", again: false };
  }
  if (problem.retry === "new_key") {
    return { came: outcome.declined, effect: "known", again: false };
  }
  if (problem.retry === "never") {
    return { came: outcome.taken, effect: "known", again: false };
  }
  if (answer.status < 500) {
    return { came: outcome.refused, effect: "none", again: false };
  }
  return { came: outcome.unknown, effect: "maybe", again: false };
}

// fullJitterMs is a random wait after the nth attempt, below a limit that doubles each time. So
// callers that failed together do not retry together. (AWS Architecture Blog, "Exponential
// Backoff And Jitter", 2015.)
const fullJitterMs = (n) => Math.random() * Math.min(backoffMaxMs, backoffBaseMs * 2 ** (n - 1));
