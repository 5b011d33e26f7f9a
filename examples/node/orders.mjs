#!/usr/bin/env node
// Order messages through Sluice, with nothing but Node.js 18 or newer.
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const usage = `usage:
  orders.mjs place ORDER PHONE   sends "we got your payment"
  orders.mjs ship ORDER PHONE    sends "it is on its way", after the message of place was delivered
  orders.mjs watch               reads how each message ended, and reacts
  orders.mjs serve PORT          receives the statuses that the relay sends`;

const api = process.env.SLUICE_API ?? "http://127.0.0.1:8080";
const shop = "shop-node"; // the tag of our messages, and the name of our cursor

/** Sluice refused a request, and would refuse it again. problem says why, and what to correct. */
class Refused extends Error {
  constructor(problem) {
    super(`Sluice refused the request: ${problem.detail}`);
    this.problem = problem;
  }
}

/**
 * Makes a request and returns the answer. Without a clear answer it tries again: the request may have arrived, and a
 * message with the same key is not sent twice.
 */
async function call(method, path, body) {
  for (const seconds of [1, 2, 4, 8, 16]) {
    try {
      const response = await fetch(api + path, {
        method,
        body: body && JSON.stringify(body),
        headers: { Authorization: `Bearer ${process.env.SLUICE_API_KEY}`, "Content-Type": "application/json" },
        signal: AbortSignal.timeout(60_000),
      });
      const answer = await response.json();
      if (response.ok) return answer;
      if (response.status < 500 && ![408, 429].includes(response.status)) throw new Refused(answer);
    } catch (error) {
      if (error instanceof Refused) throw error;
      // No connection, or no complete answer.
    }
    await sleep(seconds * 1000);
  }
  throw new Error("Sluice does not answer. Run the same command again later: it sends nothing twice.");
}

async function send(order, phone, event, after) {
  // The key is made from the order, not at random. So a double click, a retry or a second run is the same message.
  const key = `order-${order}-${event}`;
  const answer = await call("POST", "/v1/messages", {
    from: process.env.PHONE_NUMBER_ID,
    key,
    ref: key, // every event of the message has it
    tags: [shop],
    class: "utility",
    after: after && { key: `order-${order}-${after}`, state: "delivered" },
    message: {
      to: phone,
      type: "template", // the only type that Meta accepts when the customer has not written in the last 24 hours
      template: {
        name: `order_${event}`,
        language: { code: "en_US" },
        components: [{ type: "body", parameters: [{ type: "text", text: order }] }],
      },
    },
  });
  console.log(`${key}: ${answer.duplicate ? "duplicate" : "accepted"} ${answer.id}`);
}

/** Reads the final events of our messages: one for each message that has ended. */
async function watch() {
  const query = new URLSearchParams({ cursor_name: shop, tag: shop, type: "final", from: "oldest", wait: "30s" });
  for (;;) {
    try {
      const page = await call("GET", `/v1/events?${query}`);
      for (const event of page.events) {
        // An event can come twice, for example if this program was stopped before its next request.
        if (first(JSON.stringify(event))) react(event.message.ref, event.final);
      }
      query.set("cursor", page.cursor); // the next request acknowledges this page
    } catch (error) {
      if (error.problem?.code !== "cursor_too_old") throw error;
      // This program was stopped for longer than Sluice keeps events. Continue with the oldest event that is available.
      console.log("events were dropped: read the open orders with GET /v1/messages");
      query.set("cursor", error.problem.first_cursor);
    }
  }
}

function react(ref, final) {
  switch (final.result) {
    case "delivered":
      return console.log(`${ref}: delivered`);
    case "not_delivered":
      // It is certain that the message was not delivered, so the customer does not get the news twice.
      return console.log(`${ref}: fallback by SMS: ${final.text}`);
    default:
      // The message may have been delivered. A program cannot find out: a person decides.
      return console.log(`${ref}: a person must ask the customer: ${final.text}`);
  }
}

/**
 * Whether this text is seen for the first time. Use a table with a unique key in place of the files, in the same
 * transaction as the reaction.
 */
function first(text) {
  mkdirSync("seen", { recursive: true });
  try {
    writeFileSync(`seen/${createHash("sha256").update(text).digest("hex")}`, text, { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    return false;
  }
}

async function webhook(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (!verified(body, request.headers["x-hub-signature-256"])) {
    response.writeHead(403).end();
    return;
  }
  for (const entry of JSON.parse(body).entry) {
    for (const { value } of entry.changes) {
      for (const status of value.statuses ?? []) {
        if (first(`${status.id} ${status.status}`)) console.log(`webhook: ${status.sluice?.ref} ${status.status}`);
      }
    }
  }
  // Answer 2xx only when the statuses are stored: until then Sluice sends them again. Answer within 10 s, and do slow
  // work afterwards.
  response.writeHead(200).end();
}

/** Whether the relay signed the body: the bytes as they came, not JSON that was read and written again. */
function verified(body, signature = "") {
  const want = Buffer.from(`sha256=${createHmac("sha256", process.env.WEBHOOK_SECRET).update(body).digest("hex")}`);
  const got = Buffer.from(signature);
  // A comparison that takes the same time for every wrong signature does not help an attacker to guess it.
  return got.length === want.length && timingSafeEqual(got, want);
}

/** Answers 500 if a webhook cannot be handled, so that Sluice sends it again. */
function serve(port) {
  createServer((request, response) => {
    webhook(request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end();
    });
  }).listen(port, "127.0.0.1");
}

const [command, ...args] = process.argv.slice(2);
try {
  if (command === "place" && args.length === 2) await send(...args, "paid");
  else if (command === "ship" && args.length === 2) await send(...args, "shipped", "paid");
  else if (command === "watch" && args.length === 0) await watch();
  else if (command === "serve" && args.length === 1) serve(Number(args[0]));
  else throw new Error(usage);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
