// An intent is one thing that somebody wants done once: a request that moves money, and the key that stands for it.
//
// This file is all that "exactly once" asks of a browser. The key exists before the first attempt, and the request is kept beside
// it, so that whatever is lost on the way (the answer, or this page) the very same request can be sent again. Every attempt
// has the same key and the same bytes. The service does the rest.

import { exchange } from "./exchange.js";

const attemptsMax = 6;
const backoffBaseMs = 200;
const backoffMaxMs = 5_000;
const retryAfterMaxMs = 30_000; // whoever is asked to wait longer would rather be told

// newKey makes a key that nobody else makes: 128 random bits. (crypto.randomUUID exists only where the page came by TLS or from
// this machine.)
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return "console-" + Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// newIntent is a request under a key that was made before. what says it in words.
export const newIntent = ({ key, what, path, body }) => ({ key, what, path, body: JSON.stringify(body) });

// What an intent can have come to.
export const outcome = {
  done: "done", // by this request or by an earlier one under the key
  declined: "declined", // decided and stored: another attempt is a new intent, with a new key
  taken: "taken", // the key or the reference belongs to something done
  refused: "refused", // nothing was done, and the key is not used up: it may be corrected
  unknown: "unknown", // the same request, under the same key, finds out
};

// The intents of this tab, until somebody has been shown what they came to. sent says that there may have been an attempt, and
// came what it has come to, once that is known. Session storage is there after a reload. It belongs to the tab, as the API key
// does: under another merchant's key a kept request would be another intent.
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

// end ends all sending, and forgets everything: the API key goes, and under the next one a request would be another intent. A page that
// is about to be reloaded lives on for a while.
export function end() {
  ended = true;
  sessionStorage.clear();
}

let ended = false;

// The keys of the intents that are being sent. There is one sender of each: of two, neither would know what the other one's answers
// leave open.
const sending = new Set();

export const isBeingSent = ({ key }) => sending.has(key);

// send sends the intent until it is known what it came to, or until it has been tried often enough. It tells onAttempt of each
// answer, and of the pause (in ms) that follows, if one does. It fails, and sends nothing, if the intent cannot be kept, or is being
// sent. attempt sends one request.
export async function send(intent, { onAttempt, attempt = exchange }) {
  // An attempt that is refused does nothing; but a refusal says nothing of an attempt before it, which may be on its way still. Only
  // the key's own answer, or the word that it can have none, settles those, also the ones before a reload.
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

// judge tells what an answer says: about the intent; about the effect of the attempt (none, known, or maybe one, or one yet to come);
// and whether to send it again.
function judge(answer) {
  const problem = answer.problem;
  if (answer.yes && /^(pay|ref)_/.test(answer.value?.id)) {
    return { came: outcome.done, effect: "known", again: false };
  }
  if (!problem) { // nothing; or it is not the service's, and whoever is in between may have passed the request on
    return { came: outcome.unknown, effect: "maybe", again: [0, 429, 502, 503, 504].includes(answer.status) };
  }
  switch (problem.code) {
    case "rate_limited":
    case "overloaded":
    case "unavailable": // turned away before anything was done
      return { came: outcome.refused, effect: "none", again: true };
    case "idempotency_key_in_progress":
    case "outcome_unknown":
      return { came: outcome.unknown, effect: "maybe", again: true };
    case "duplicate_reference": // the key is free: once the other payment is canceled, an earlier attempt could still charge
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

// fullJitterMs is a random wait before the attempt after the nth, up to a ceiling that doubles: callers who failed together come back
// spread over all of it. (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015.)
const fullJitterMs = (n) => Math.random() * Math.min(backoffMaxMs, backoffBaseMs * 2 ** (n - 1));
