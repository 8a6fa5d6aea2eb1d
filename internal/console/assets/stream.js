// A stream of server-sent events, by fetch: an EventSource cannot send the API key in a header.

import { openStream } from "./exchange.js";

const silenceMaxMs = 45_000; // the service sends a comment every 15 s
const pauseMaxMs = 10_000;

// Stream follows a path from the last event that it has got, across lost connections, until it is
// stopped or the service refuses. onEvent gets each event, onOpen is called when a connection is
// there, onLost when one is lost. started() returns when the stream has ended. It throws the
// refusal, an Answer.
export class Stream {
  constructor(path, { onEvent, onOpen, onLost }) {
    Object.assign(this, { path, onEvent, onOpen, onLost });
    this.cursor = "";
    this.stopped = null; // aborts the current run
  }

  stop() {
    this.stopped?.abort();
  }

  async started() {
    this.stop();
    const run = new AbortController();
    this.stopped = run;
    for (let failures = 0; !run.signal.aborted; failures++) {
      if (await this.connect(run.signal)) {
        failures = 0;
      }
      if (!run.signal.aborted) {
        this.onLost();
        await pause(Math.random() * Math.min(pauseMaxMs, 500 * 2 ** failures), run.signal);
      }
    }
  }

  // connect returns whether there was a connection.
  async connect(signal) {
    const silence = new AbortController();
    const { body, failure } =
      await openStream(this.path, this.cursor, AbortSignal.any([signal, silence.signal]));
    if (failure) {
      if (failure.problem && failure.status < 500 && failure.status !== 429) {
        this.cursor = ""; // of no use any more, if it was lost
        throw failure;
      }
      return false;
    }
    this.onOpen();
    try {
      for await (const { id, data } of blocks(body, () => silence.abort())) {
        if (data) {
          this.onEvent(JSON.parse(data));
        }
        this.cursor = id || this.cursor;
      }
    } catch {
      // The connection was lost or has been silent, or the stream was stopped.
    }
    return true;
  }
}

// blocks reads the parts of a stream, each of which ends with an empty line. One that is cut off
// is dropped. giveUp is called if nothing comes for a while.
async function* blocks(body, giveUp) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const timer = setTimeout(giveUp, silenceMaxMs);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) {
      return;
    }
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    yield* parts.map(fieldsOf);
  }
}

// fieldsOf are the fields of a block. A comment has no name.
const fieldsOf = (block) => Object.fromEntries(block.split("\n").map((line) => {
  const end = line.indexOf(":");
  return [line.slice(0, end), line.slice(end + 1).trimStart()];
}));

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    resolve();
  }, { once: true });
});
