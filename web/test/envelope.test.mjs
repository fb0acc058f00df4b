import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { pushId } = (await load("shared/envelope.ts")).exported;

test("the PushID is the envelope the published web package writes", () => {
  assert.equal(pushId("ver:token-EXAMPLE", "2.5.0"), "rwABAQcABQARMi41LjB2ZXI6dG9rZW4tRVhBTVBMRQ==");
});

test("an empty token is an envelope that unbinds", () => {
  assert.equal(pushId("", "2.5.0"), "rwABAQcABQAAMi41LjA=");
});
