// The report about an intent: each attempt, the outcome, and the next actions.

import { button, element, paymentLink, row, table } from "./dom.js";
import { Answer, exchange } from "./exchange.js";
import { forget, keep, outcome, send } from "./intent.js";
import { failureNode, keyedProblem, problemNode } from "./problem.js";

const crowd = 5; // duplicates sent at the same moment, to show that they make one payment

// follow sends an intent and reports each attempt. It calls settled with the outcome, once that is known. The intent is
// forgotten only after its outcome was shown. If the reader has left the view, the intent is listed as unfinished.
export async function follow(intent, report, { settled, attempt }) {
  const attempts = table(["Attempt", "Answer", "Request-Id", "Took"]);
  const pause = element("p", { className: "fine" });
  report.replaceChildren(element("div", { className: "scroll" }, attempts), pause);
  let count = 0;
  const { came, answer } = await send(intent, {
    attempt,
    onAttempt(answer, pauseMs) {
      count++;
      attempts.tBodies[0].append(attemptRow(count, answer));
      pause.textContent = pauseMs === undefined ? "" : `Once more, with the same key, in ${(pauseMs / 1000).toFixed(1)} s.`;
    },
  });
  if (!report.isConnected) { // the reader has left the view
    const left = came === outcome.unknown ? { ...intent, sent: true } : { ...intent, came };
    keep(left);
    dispatchEvent(new CustomEvent("unfinished", { detail: left }));
    return;
  }
  report.append(verdict(came, answer, count));
  if (came === outcome.unknown) {
    report.append(findOut({ ...intent, sent: true }, report, settled));
    return;
  }
  forget(intent);
  settled(came);
  if (came === outcome.done || came === outcome.declined) {
    report.append(...repeats(intent, answer));
  }
}

// losingTheFirst is an exchange that discards the first answer, like a broken connection, to show that this is harmless.
export function losingTheFirst() {
  let count = 0;
  return async (...request) => {
    const answer = await exchange(...request);
    count++;
    return count > 1 ? answer : Object.assign(new Answer({ reason: "the answer was discarded" }), { tookMs: answer.tookMs });
  };
}

// findOut is a button that sends the intent again.
export const findOut = (intent, report, settled) => button("Find out", () =>
  follow(intent, report, { settled }).catch((mistake) => report.replaceChildren(failureNode(mistake)))); // it cannot be stored

function attemptRow(n, answer) {
  const said = [answer.reason, answer.status, answer.problem?.code, answer.replayed && "replayed"];
  return row([String(n), said.filter(Boolean).join(" "), answer.headers.get("Request-Id") ?? "", `${answer.tookMs} ms`]);
}

function verdict(came, answer, attempts) {
  switch (came) {
    case outcome.done:
      return element("p", { className: "done" },
        element("strong", {}, "Done"), `${doneBy(answer, attempts)}: `, ...doneThing(answer.value));
    case outcome.unknown:
      return element("div", { className: "problem" }, answer.problem && problemNode(answer, ""),
        element("p", {}, element("strong", {}, "The outcome is unknown. "),
          "Nothing is lost: the same request with the same key finds out, at any time. Until then this tab lists it as unfinished."));
    default:
      return keyedProblem(answer);
  }
}

function doneBy(answer, attempts) {
  if (!answer.replayed) {
    return "";
  }
  const whom = attempts > 1 ? "an attempt whose answer did not arrive" : "an earlier request";
  return ` once, by ${whom}; this is its answer again`;
}

// doneThing is the payment that was made or changed, or the refund of one.
function doneThing({ id, payment_id: paymentID, status }) {
  return paymentID
    ? [`refund ${id} of `, paymentLink(paymentID), ` (${status})`]
    : [paymentLink(id), ` (${status})`];
}

// repeats are buttons that show the answers of retries after the outcome is stored.
function repeats(intent, answer) {
  const replays = element("div");
  return [
    button("Send it again, with the same key", () => repeat(intent, answer, replays, 1)),
    button(`Send it ${crowd} times at once`, () => repeat(intent, answer, replays, crowd)),
    replays,
  ];
}

// repeat sends an answered request again, several times at the same moment, and compares the answers with the first one.
async function repeat(intent, first, replays, times) {
  const rows = table(["Answer", "Idempotent-Replayed", "Bytes", "Request-Id"]);
  replays.replaceChildren(element("div", { className: "scroll" }, rows));
  await Promise.all(Array.from({ length: times }, async () => {
    const answer = await exchange("POST", intent.path, { key: intent.key, body: intent.body });
    rows.tBodies[0].append(row([
      answer.status > 0 ? String(answer.status) : answer.reason, String(answer.replayed),
      answer.text === first.text ? "the same as the first answer’s" : "others than the first answer’s",
      answer.headers.get("Request-Id") ?? "",
    ]));
  }));
}
