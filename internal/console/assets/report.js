// The report about an intent: each attempt, the outcome, and the next actions.

import { addRow, button, element, link, paymentLink, replaceIn, scrolling, table } from "./dom.js";
import { Answer, exchange } from "./exchange.js";
import { forget, keep, outcome, send } from "./intent.js";
import { failureNode, keyedProblem, problemNode } from "./problem.js";

const crowd = 5; // duplicates sent at the same moment, to show that they make one payment

// follow sends an intent and reports each attempt. It calls settled with the outcome, once that is
// known. The intent is forgotten only after its outcome was shown. If the reader has left the view,
// the intent is listed as unfinished. A refusal marks the fields of form, if there is one.
export async function follow(intent, report, { settled, attempt, form }) {
  const attempts = table(["Attempt", "Answer", "Request-Id", "Took"]);
  const pause = element("p", { className: "fine" }, "It is being sent.");
  replaceIn(report, scrolling("Attempts", attempts), pause);
  let count = 0;
  const { came, answer } = await send(intent, {
    attempt,
    onAttempt(answer, pauseMs) {
      count++;
      addRow(attempts, attemptCells(count, answer));
      pause.textContent = pauseMs === undefined
        ? ""
        : `Once more, with the same key, in ${(pauseMs / 1000).toFixed(1)} s.`;
    },
  });
  if (!report.isConnected) { // the reader has left the view
    const left = came === outcome.unknown ? { ...intent, sent: true } : { ...intent, came };
    keep(left);
    dispatchEvent(new CustomEvent("unfinished", { detail: left }));
    return;
  }
  report.append(verdict(came, answer, count, form));
  if (came === outcome.unknown) {
    report.append(...sendAgain({ ...intent, sent: true }, report, settled));
    return;
  }
  forget(intent);
  settled(came);
  if (came === outcome.done || came === outcome.declined) {
    report.append(...repeats(intent, answer));
  }
}

// losingTheFirst is an exchange that discards the first answer, like a broken connection, to show
// that this is harmless.
export function losingTheFirst() {
  let count = 0;
  return async (...request) => {
    const answer = await exchange(...request);
    count++;
    if (count > 1) {
      return answer;
    }
    const discarded = new Answer({ reason: "the answer was discarded" });
    discarded.tookMs = answer.tookMs;
    return discarded;
  };
}

// sendAgain explains an unknown outcome, and is a button that sends the intent again. That is no
// mere question: an intent that was not executed yet is executed then.
export const sendAgain = (intent, report, settled) => [
  element("p", {}, "If it was done, sending it again only shows its answer. ",
    "If it was not, it is done then. The key prevents a second time."),
  button("Send it again", () =>
    follow(intent, report, { settled }).catch((mistake) => // it cannot be stored
      replaceIn(report, failureNode(mistake)))),
  intent.path === "/payments" && element("p", {}, keyLink(intent, "Look for its payment"),
    ": that only reads. No payment yet does not mean that none will come."),
].filter(Boolean);

// keyLink leads to the payments of an intent's key.
export const keyLink = ({ key }, text) =>
  link("#/payments?" + new URLSearchParams({ idempotency_key: key }), text);

function attemptCells(n, answer) {
  const said = [answer.reason, answer.status, answer.problem?.code, answer.replayed && "replayed"];
  const requestID = answer.headers.get("Request-Id") ?? "";
  return [String(n), said.filter(Boolean).join(" "), requestID, `${answer.tookMs} ms`];
}

function verdict(came, answer, attempts, form) {
  switch (came) {
    case outcome.done:
      return element("p", { className: "done" },
        element("strong", {}, "Done"), `${doneBy(answer, attempts)}: `, ...doneThing(answer.value));
    case outcome.unknown:
      return element("div", { className: "problem" }, answer.problem && problemNode(answer, ""),
        element("p", {}, element("strong", {}, "The outcome is unknown. "),
          "Nothing is lost: until it is known, this tab lists the request as unfinished."));
    default:
      return keyedProblem(answer, form);
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
    button("Replay it, with the same key", () => repeat(intent, answer, replays, 1)),
    button(`Replay it ${crowd} times at once`, () => repeat(intent, answer, replays, crowd)),
    replays,
  ];
}

// repeat sends an answered request again, several times at the same moment, and compares the
// answers with the first one.
async function repeat(intent, first, replays, times) {
  const rows = table(["Answer", "Idempotent-Replayed", "Bytes", "Request-Id"]);
  replays.replaceChildren(scrolling("Replays", rows));
  await Promise.all(Array.from({ length: times }, async () => {
    const answer = await exchange("POST", intent.path, { key: intent.key, body: intent.body });
    addRow(rows, [
      answer.status > 0 ? String(answer.status) : answer.reason, String(answer.replayed),
      `${answer.text === first.text ? "the same as" : "others than"} the first answer’s`,
      answer.headers.get("Request-Id") ?? "",
    ]);
  }));
}
