// whatsapp, Meta's own SDK, which Meta maintains no more: takes WA_BASE_URL, the name of a host. It uses HTTPS and port 443, so here
// a server with TLS is in front, as in production, and only the port is another one.
import { front } from './front.mjs';

export async function calls(c) {
  const server = await front(c.base, c.tls);
  Object.assign(process.env, {
    NODE_ENV: 'production', // otherwise the SDK needs dotenv, which it does not install
    WA_BASE_URL: '127.0.0.1', WA_PHONE_NUMBER_ID: c.number, CLOUD_API_ACCESS_TOKEN: c.key, CLOUD_API_VERSION: 'v16.0',
    WA_BUSINESS_ACCOUNT_ID: c.account, M4D_APP_ID: '1', M4D_APP_SECRET: 'unused', WEBHOOK_ENDPOINT: 'hook', WEBHOOK_VERIFICATION_TOKEN: 'unused',
  });
  const { default: WhatsApp } = await import('whatsapp');
  const wa = new (WhatsApp.default ?? WhatsApp)();
  wa.requester.port = server.port;
  const read = async made => (await made).responseBodyToJSON();
  const send = (name, make) => c.call(`send: ${name}`, () => read(make(c.to())));
  const link = ext => ({ link: `https://example.com/a.${ext}` });

  const text = await send('text', to => wa.messages.text({ body: 'Hello' }, to));
  await send('text as a reply', to => wa.messages.text({ body: 'Yes' }, to, c.inbound));
  await send('text as a reply to our own message', to => wa.messages.text({ body: 'And this' }, to, text?.messages?.[0]?.id ?? 'none'));
  await send('image by link', to => wa.messages.image(link('png'), to));
  await send('audio', to => wa.messages.audio(link('mp3'), to));
  await send('video', to => wa.messages.video(link('mp4'), to));
  await send('document', to => wa.messages.document({ ...link('pdf'), filename: 'a.pdf' }, to));
  await send('sticker', to => wa.messages.sticker(link('webp'), to));
  await send('location', to => wa.messages.location({ latitude: 1.5, longitude: 2.5, name: 'Office', address: 'A street' }, to));
  await send('contacts', to => wa.messages.contacts([{ name: { formatted_name: 'Ada King', first_name: 'Ada' }, phones: [{ phone: '+15551234567', type: 'WORK' }] }], to));
  await send('template', to => wa.messages.template({ name: 'hello_world', language: { policy: 'deterministic', code: 'en_US' } }, to));
  await send('template with parameters', to => wa.messages.template({
    name: 'order_shipped', language: { policy: 'deterministic', code: 'en_US' }, components: [{ type: 'body', parameters: [{ type: 'text', text: '1001' }] }],
  }, to));
  await send('reply buttons', to => wa.messages.interactive({
    type: 'button', body: { text: 'Pick' }, action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] },
  }, to));
  await send('list', to => wa.messages.interactive({
    type: 'list', body: { text: 'Pick' }, action: { button: 'Open', sections: [{ title: 'Drinks', rows: [{ id: 'tea', title: 'Tea' }] }] },
  }, to));
  await c.call('mark as read', () => read(wa.messages.status({ status: 'read', message_id: c.inbound })));
  await c.call('number: set PIN', () => read(wa.twoStepVerification.setPin(123456)));
  wa.requester.client.clearSockets();
  server.close();
}
