// whatsapp-business: has no setting for the base URL, but its axios client has one.
import { writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { front } from './front.mjs';

export async function calls(c) {
  const server = await front(c.base);
  const { WABAClient } = await import('whatsapp-business');
  const sdk = new WABAClient({ accountId: c.account, phoneId: c.number, apiToken: c.key });
  sdk.restClient.fetch.defaults.baseURL = `http://127.0.0.1:${server.port}/v25.0`;
  const send = (name, type, content) => c.call(`send: ${name}`, () => sdk.sendMessage({ to: c.to(), type, [type]: content }));
  const link = ext => ({ link: `https://example.com/a.${ext}` });

  writeFileSync('whatsapp-business.png', Buffer.from(await c.png.arrayBuffer()));
  const uploaded = await c.call('media: upload', () => sdk.uploadMedia({ file: 'whatsapp-business.png', type: 'image/png' }));
  const id = uploaded?.id ?? '1';
  const media = await c.call('media: read its URL', () => sdk.getMedia(id));
  await c.call('media: download', async () => once(await sdk.downloadMedia(media.url, 'whatsapp-business.download'), 'finish'));

  const text = await send('text', 'text', { body: 'Hello' });
  const reply = (name, to) => c.call(`send: ${name}`, () => sdk.sendMessage({ to: c.to(), type: 'text', text: { body: 'Yes' }, context: { message_id: to } }));
  await reply('text as a reply', c.inbound);
  await reply('text as a reply to our own message', text?.messages?.[0]?.id ?? 'none');
  await send('image by id', 'image', { id, caption: 'A picture' });
  await send('image by link', 'image', link('png'));
  await send('audio', 'audio', link('mp3'));
  await send('video', 'video', link('mp4'));
  await send('document', 'document', { ...link('pdf'), filename: 'a.pdf' });
  await send('sticker', 'sticker', { id });
  await send('location', 'location', { latitude: 1.5, longitude: 2.5, name: 'Office', address: 'A street' });
  await send('contacts', 'contacts', [{ name: { formatted_name: 'Ada King', first_name: 'Ada' }, phones: [{ phone: '+15551234567', type: 'WORK' }] }]);
  await send('reaction', 'reaction', { message_id: c.inbound, emoji: '👍' });
  await send('template', 'template', { name: 'hello_world', language: { code: 'en_US' } });
  await send('template with parameters', 'template', { name: 'order_shipped', language: { code: 'en_US' }, components: [{ type: 'body', parameters: [{ type: 'text', text: '1001' }] }] });
  await send('reply buttons', 'interactive', { type: 'button', body: { text: 'Pick' }, action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] } });
  await send('list', 'interactive', { type: 'list', body: { text: 'Pick' }, action: { button: 'Open', sections: [{ title: 'Drinks', rows: [{ id: 'tea', title: 'Tea' }] }] } });

  await c.call('mark as read', () => sdk.markMessageAsRead(c.inbound));
  await c.call('media: delete', () => sdk.deleteMedia(id));
  await c.call('number: list', () => sdk.getBusinessPhoneNumbers());
  await c.call('number: read', () => sdk.getSingleBusinessPhoneNumber(c.number));
  await c.call('number: read profile', () => sdk.getBusinessProfile());
  await c.call('number: change profile', () => sdk.updateBusinessProfile({ about: 'We deliver.' }));
  await c.call('number: change settings', () => sdk.updateIdentityCheckState({ enable_identity_key_check: true }));
  await c.call('number: request code', () => sdk.requestPhoneNumberVerificationCode({ phoneNumberId: c.number, code_method: 'SMS', language: 'en_US' }));
  await c.call('number: verify code', () => sdk.verifyPhoneNumberCode({ phoneNumberId: c.number, code: '123456' }));
  await c.call('number: register', () => sdk.registerPhone({ phoneNumberId: c.number, pin: '123456' }));
  await c.call('number: deregister', () => sdk.deregisterPhone(c.number));
  await c.call('number: set PIN', () => sdk.setupTwoStepAuth({ phoneNumberId: c.number, pin: '123456' }));
  server.close();
}
