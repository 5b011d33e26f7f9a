// @great-detail/whatsapp: takes baseUrl.
import Client from '@great-detail/whatsapp';

export async function calls(c) {
  const sdk = new Client({ baseUrl: c.base, request: { headers: { Authorization: `Bearer ${c.key}` }, retry: 0 } });
  const send = (name, more) => c.call(`send: ${name}`, () => sdk.message.createMessage({ phoneNumberID: c.number, to: c.to(), ...more() }).json());

  const uploaded = await c.call('media: upload', () => sdk.media.upload({ phoneNumberID: c.number, file: c.png, filename: 'a.png', mimeType: 'image/png' }).json());
  const id = uploaded?.id ?? '1';
  await c.call('media: read its URL', () => sdk.media.getURL({ mediaID: id }).json());
  const described = await c.call('media: read its URL, with the number', () => sdk.media.getURL({ mediaID: id, phoneNumberID: c.number }).json());
  await c.call('media: download', () => sdk.media.download({ mediaURL: described?.url ?? c.base, request: { headers: { Authorization: `Bearer ${c.key}` }, retry: 0 } }).arrayBuffer());

  const text = await send('text', () => ({ type: 'text', text: { body: 'Hello' } }));
  await send('text as a reply', () => ({ type: 'text', text: { body: 'Yes' }, context: { message_id: c.inbound } }));
  await send('text as a reply to our own message', () => ({ type: 'text', text: { body: 'And this' }, context: { message_id: text?.messages?.[0]?.id ?? 'none' } }));
  await send('image by id', () => ({ type: 'image', image: { id, caption: 'A picture' } }));
  await send('image by link', () => ({ type: 'image', image: { link: 'https://example.com/a.png' } }));
  await send('audio', () => ({ type: 'audio', audio: { link: 'https://example.com/a.mp3' } }));
  await send('video', () => ({ type: 'video', video: { link: 'https://example.com/a.mp4' } }));
  await send('document', () => ({ type: 'document', document: { link: 'https://example.com/a.pdf', filename: 'a.pdf' } }));
  await send('sticker', () => ({ type: 'sticker', sticker: { link: 'https://example.com/a.webp' } }));
  await send('location', () => ({ type: 'location', location: { latitude: 1.5, longitude: 2.5 } }));
  await send('contacts', () => ({ type: 'contacts', contacts: [{ name: { formatted_name: 'Ada King', first_name: 'Ada' } }] }));
  await send('reaction', () => ({ type: 'reaction', reaction: { message_id: c.inbound, emoji: '👍' } }));
  await send('template with parameters', () => ({
    type: 'template',
    template: {
      name: 'order_money', language: { code: 'en_US' },
      components: [{
        type: 'body', parameters: [
          { type: 'text', text: 'Example' },
          { type: 'currency', currency: { fallback_value: '£100', code: 'GBP', amount_1000: 100_000 } },
          { type: 'date_time', date_time: { fallback_value: '2026-01-01' } },
        ],
      }],
    },
  }));
  await send('reply buttons', () => ({
    type: 'interactive', interactive: { type: 'button', body: { text: 'Hello' }, action: { buttons: [{ type: 'reply', reply: { id: 'b1', title: 'One' } }] } },
  }));
  await send('URL button', () => ({
    type: 'interactive', interactive: { type: 'cta_url', body: { text: 'Hello' }, action: { name: 'cta_url', parameters: { display_text: 'Open', url: 'https://example.com' } } },
  }));
  await send('list', () => ({
    type: 'interactive',
    interactive: { type: 'list', body: { text: 'Hello' }, action: { button: 'Options', sections: [{ title: 'One', rows: [{ id: 'a', title: 'A', description: 'First' }] }] } },
  }));

  await c.call('mark as read', () => sdk.message.createStatus({ phoneNumberID: c.number, status: 'read', message_id: c.inbound }).json());
  await c.call('typing indicator', () => sdk.message.createStatus({ phoneNumberID: c.number, status: 'read', message_id: c.inbound, typing_indicator: { type: 'text' } }).json());

  await c.call('media: delete', () => sdk.media.delete({ mediaID: id, phoneNumberID: c.number }).json());

  const approved = { limit: 2, status: ['APPROVED'], fields: ['name', 'status'] };
  const listed = await c.call('templates: list', () => sdk.template.list(c.account, approved).json());
  await c.call('templates: list the next page, by its cursor', () => sdk.template.list(c.account, { ...approved, after: listed?.paging?.cursors?.after ?? 'none' }).json());
  const created = await c.call('templates: create', () => sdk.template.create(c.account, {
    name: 'from_great_detail', language: 'en_US', category: 'UTILITY', components: [{ type: 'BODY', text: 'Hello' }],
  }).json());
  const template = created?.id ?? '1';
  await c.call('templates: read one', () => sdk.template.get(template, { fields: ['name', 'status'] }).json());
  await c.call('templates: edit', () => sdk.template.update(template, { components: [{ type: 'BODY', text: 'Hello again' }] }).json());
  await c.call('templates: delete', () => sdk.template.delete(c.account, { name: 'from_great_detail', hsm_id: template }).json());
  await c.call('templates: search the library', () => sdk.template.listLibrary({ search: 'order' }).json());

  await c.call('number: read', () => sdk.phoneNumbers.getPhoneNumber({ phoneNumberID: c.number, fields: ['display_phone_number', 'quality_rating'] }).json());
  await c.call('number: list', () => sdk.phoneNumbers.listPhoneNumbers({ businessAccountID: c.account }).json());
  await c.call('number: change its name', () => sdk.phoneNumbers.updatePhoneNumber({ phoneNumberID: c.number, new_display_name: 'Another' }).json());
  await c.call('number: read profile', () => sdk.businessProfile.getBusinessProfile({ phoneNumberID: c.number, fields: ['about', 'email'] }).json());
  await c.call('number: change profile', () => sdk.businessProfile.updateBusinessProfile({ phoneNumberID: c.number, about: 'We deliver.' }).json());
  await c.call('number: change conversational components', () => sdk.conversationalAutomation.setConversationalAutomation({
    phoneNumberID: c.number, enable_welcome_message: true, prompts: ['Book a flight'],
  }).json());

  await c.call('account: read', () => sdk.whatsappBusinessAccount.get(c.account, { fields: ['name', 'currency'] }).json());
  await c.call('account: list subscribed apps', () => sdk.subscribedApps.listSubscriptions({ businessAccountID: c.account }).json());
  await c.call('account: subscribe', () => sdk.subscribedApps.createSubscription({ businessAccountID: c.account }).json());
}

export async function inbox({ secret }) {
  const sdk = new Client();
  return async ({ raw, headers, statuses, messages }) => {
    const event = await sdk.webhook.eventNotification({ method: 'POST', query: {}, body: raw, headers });
    await event.verifySignature(secret);
    for (const entry of event.eventNotification.entry) {
      for (const { value } of entry.changes) {
        statuses.push(...(value.statuses ?? []).map(s => ({ id: s.id, status: s.status })));
        messages.push(...(value.messages ?? []).map(m => ({ id: m.id, from: m.from, text: m.text?.body, context: m.context?.id })));
      }
    }
  };
}
