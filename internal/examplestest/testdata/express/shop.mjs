// Runs the code of docs/frameworks.md for Express. Express is real. The pool has no database: it prints what is stored.
//   node shop.mjs serve PORT            receives webhooks
//   node shop.mjs sweep NUMBER PHONE    runs the sweep, which finds one order
import express from "express";
import { sweep, webhook } from "./sluice.mjs";

const [command, argument, phone] = process.argv.slice(2);
const stored = new Set();
const pool = {
  async query(sql, values = []) {
    if (sql.startsWith("SELECT")) return { rows: [{ number: argument, phone }] };
    const key = values.slice(0, 2).join(" "); // of the unique constraint
    if (!stored.has(key)) console.log(sql.startsWith("INSERT") ? `webhook: ${values[2]} ${values[1]}` : `stored: ${values[1]}`);
    stored.add(key);
  },
};
if (command === "serve") express().use(webhook(pool)).use(express.json()).listen(Number(argument), "127.0.0.1");
else await sweep(pool);
