import { addRow, button, element, focusOn, replaceIn, scrolling, table } from "./dom.js";
import { get } from "./exchange.js";
import { failureNode } from "./problem.js";

const pageSize = 20;

// pages shows a list as a table: the first page, and a button for the next one. (A page of a
// filtered list may be empty and not the last.) name is the table's.
export async function pages(name, path, filters, headings, cellsOf) {
  const shown = table(headings);
  const more = element("div");
  let cursor = "";

  async function showPage() {
    replaceIn(more, "…"); // prevents a second click
    const query = { ...filters, limit: pageSize, cursor };
    const { data, next_cursor: next } = (await get(path, query)).value;
    const [first] = data.map((thing) => addRow(shown, cellsOf(thing)));
    cursor = next;
    if (first && more.contains(document.activeElement)) {
      focusOn(first); // the reader goes on there
    }
    const none = shown.tBodies[0].rows.length === 0;
    replaceIn(more, next ? button("Show more", goOn) : none ? "There is none." : "");
  }

  const goOn = () => showPage().catch((failure) =>
    replaceIn(more, failureNode(failure), button("Try again", goOn)));

  await showPage();
  return element("div", {}, scrolling(name, shown), more);
}
