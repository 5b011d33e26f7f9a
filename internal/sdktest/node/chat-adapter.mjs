// @chat-adapter/whatsapp, the adapter of Vercel's Chat SDK: takes apiUrl.
import { createWhatsAppAdapter } from '@chat-adapter/whatsapp';

const quiet = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

export async function calls(c) {
  const adapter = createWhatsAppAdapter({ apiUrl: c.base, accessToken: c.key, phoneNumberId: c.number, appSecret: 'unused', verifyToken: 'unused', logger: quiet });
  const thread = () => adapter.encodeThreadId({ phoneNumberId: c.number, userWaId: c.to() });
  const send = (name, make) => c.call(`send: ${name}`, () => make(thread()));
  const button = (id, label) => ({ type: 'button', id, label });
  const card = children => ({ card: { type: 'card', title: 'Order', children } });

  const text = await send('text', t => adapter.postMessage(t, 'Hello **there**'));
  await send('text as a reply', t => adapter.reply(t, c.inbound, 'Yes'));
  await send('text as a reply to our own message', t => adapter.reply(t, text?.id ?? 'none', 'And this'));
  await c.call('media: upload', () => adapter.uploadMedia({ data: Buffer.from('%PDF-1.4'), filename: 'a.pdf', mimeType: 'application/pdf' }));
  await send('image by id', t => adapter.postMessage(t, { markdown: 'A picture', files: [{ filename: 'a.png', mimeType: 'image/png', data: c.png }] }));
  await send('image by link', t => adapter.postMessage(t, { markdown: 'A picture', attachments: [{ type: 'image', name: 'a.png', mimeType: 'image/png', url: 'https://example.com/a.png' }] }));
  await send('document', t => adapter.postMessage(t, { markdown: '', attachments: [{ type: 'file', name: 'a.pdf', mimeType: 'application/pdf', url: 'https://example.com/a.pdf' }] }));
  await send('reply buttons', t => adapter.postMessage(t, card([{ type: 'actions', children: [button('yes', 'Yes'), button('no', 'No')] }])));
  await send('URL button', t => adapter.postMessage(t, card([{ type: 'actions', children: [{ type: 'link-button', label: 'Open', url: 'https://example.com/' }] }])));
  await send('template', t => adapter.sendTemplate(t, { name: 'hello_world', language: 'en_US' }));
  await send('template with parameters', t => adapter.sendTemplate(t, {
    name: 'order_shipped', language: 'en_US', components: [{ type: 'body', parameters: [{ type: 'text', text: '1001' }] }],
  }));
  await send('reaction', t => adapter.addReaction(t, c.inbound, 'thumbs_up'));
  await send('reaction removed', t => adapter.removeReaction(t, c.inbound, 'thumbs_up'));
  await c.call('mark as read', () => adapter.markAsRead(c.inbound));
}

// The adapter hands messages to a Chat, and ignores statuses. A Chat of a real program has a store; this one only listens.
export async function inbox({ secret, key, number }) {
  const adapter = createWhatsAppAdapter({ accessToken: key, phoneNumberId: number, appSecret: secret, verifyToken: 'unused', logger: quiet });
  let heard = [];
  const state = { get: async () => null, set: async () => {}, setIfNotExists: async () => true };
  await adapter.initialize({ getState: () => state, processMessage: (_, thread, message) => heard.push(message) });
  return async ({ raw, headers, messages }) => {
    heard = [];
    const request = new Request('http://localhost/', { method: 'POST', body: raw, headers: { 'x-hub-signature-256': headers['x-hub-signature-256'] ?? '' } });
    const response = await adapter.handleWebhook(request);
    if (!response.ok) throw new Error(await response.text());
    messages.push(...heard.map(m => ({ id: m.id, from: m.raw?.message?.from, text: m.text, context: m.raw?.message?.context?.id })));
  };
}
