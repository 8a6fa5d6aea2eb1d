// Answers that are not a success, and what they mean to somebody who reads, changes something, or holds a key.

import { element, paymentLink } from "./dom.js";

// failureNode shows why something could not be read or sent: an answer that was thrown, or a mistake in what was typed.
export function failureNode(failure) {
  if (failure instanceof Error) {
    return element("div", { className: "problem" }, element("p", {}, failure.message));
  }
  return problemNode(failure, "");
}

// changeProblem shows an answer to a change without a key.
export const changeProblem = (answer) =>
  problemNode(answer, answer.problem && answer.status < 500 ? "" : "It may have been done. Sending it again is safe.");

// keyedProblem shows an answer to a request with a key.
export const keyedProblem = (answer) => problemNode(answer, advice[answer.problem?.retry]);

// advice is what a problem's retry means.
const advice = {
  same_key: "Nothing was done, and the key is not used up.",
  new_key: "That is decided, and stored with the key. Another attempt is another intent, and takes a new key.",
  never: "Sending it again will not help: see the payment for what was done.",
};

export function problemNode(answer, note) {
  const problem = answer.problem;
  if (!problem) {
    const said = answer.status > 0 ? `status ${answer.status}, and not from the service itself` : answer.reason;
    return element("div", { className: "problem" }, element("p", {}, `No answer of the service: ${said}. `, note));
  }
  return element("div", { className: "problem" },
    element("p", {}, element("strong", {}, problem.title), ": ", problem.detail),
    (problem.errors ?? []).length > 0 && element("ul", {},
      problem.errors.map((each) => element("li", {}, element("code", {}, each.pointer), " ", each.detail))),
    note && element("p", {}, note),
    answer.retryAfterMs > 0 && element("p", {}, `It asks to come back in ${answer.retryAfterMs / 1000} s.`),
    problem.payment_id && element("p", {}, "It is about ", paymentLink(problem.payment_id), "."),
    element("p", { className: "fine" },
      `${problem.status} `, element("a", { href: problem.type }, problem.code), ` · ${problem.request_id}`));
}
