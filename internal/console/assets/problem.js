// Answers that are not a success, and their meaning after a read, a change, or a request with a key.

import { element, paymentLink } from "./dom.js";

// failureNode shows a failure: an Answer that was thrown, or an Error about the input.
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

// advice explains a problem's retry.
const advice = {
  same_key: "Nothing was done, and the key is free.",
  new_key: "This decline is stored with the key. Another attempt is another intent, and takes a new key.",
  never: "Do not send it again. The payment has the result of the earlier request.",
};

export function problemNode(answer, note) {
  const problem = answer.problem;
  if (!problem) {
    const said = answer.status > 0 ? `status ${answer.status}, and not from the service itself` : answer.reason;
    return element("div", { className: "problem" }, element("p", {}, `No answer from the service: ${said}. `, note));
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
