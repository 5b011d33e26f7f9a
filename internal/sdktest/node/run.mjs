// run.mjs SDK makes every call that an SDK has, and prints a JSON line for each: its name, the requests that it made, and what the SDK
// threw. The settings are JSON in SDKTEST: base, key, number, account, recipients (a prefix), inbound (the id of a message).
const settings = JSON.parse(process.env.SDKTEST);
const sdk = process.argv[2];

// The SDKs use the global fetch. It notes each request, and refuses to leave the base URL.
const real = globalThis.fetch;
let requests = [];
globalThis.fetch = async (input, init) => {
  const url = new URL(typeof input === 'string' ? input : input.url ?? input);
  const method = init?.method ?? input.method ?? 'GET';
  if (url.origin !== new URL(settings.base).origin) throw new Error(`the SDK calls ${url.origin}`);
  const response = await real(input, init);
  const request = { method, path: url.pathname, status: response.status, code: 0, message: '' };
  requests.push(request);
  if (!response.ok) {
    const body = await response.clone().json().catch(() => ({}));
    request.code = body.error?.code ?? 0;
    request.message = body.error?.message ?? '';
    request.details = body.error?.error_data?.details ?? '';
  }
  return response;
};

let serial = 0;
const context = {
  ...settings,
  // to returns another recipient for each message, so that the test can compare what arrived.
  to: () => `+${settings.recipients}${String(++serial).padStart(3, '0')}`,
  png: new Blob([Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')], { type: 'image/png' }),
  async call(name, make) {
    requests = [];
    let result, thrown = '';
    try {
      result = await make();
      if (result?.error) thrown = result.error.message ?? 'error'; // of SDKs that return Meta's error
    } catch (e) {
      thrown = e?.message ?? String(e);
    }
    console.log(JSON.stringify({ name, requests, thrown }));
    return thrown ? undefined : result;
  },
};

const { calls } = await import(`./${sdk}.mjs`);
await calls(context);
