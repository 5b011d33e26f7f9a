// @kapso/whatsapp-cloud-api: takes baseUrl.
import { WhatsAppClient, buildTemplateSendPayload } from '@kapso/whatsapp-cloud-api';

export async function calls(c) {
  const client = new WhatsAppClient({ baseUrl: c.base, accessToken: c.key });
  const { messages, media, templates, phoneNumbers, flows } = client;
  const send = (name, method, more) => c.call(`send: ${name}`, () => messages[method]({ phoneNumberId: c.number, to: c.to(), ...more() }));

  const uploaded = await c.call('media: upload', () => media.upload({ phoneNumberId: c.number, type: 'image/png', file: c.png, fileName: 'a.png' }));
  const id = uploaded?.id ?? '1';
  await c.call('media: read its URL', () => media.get({ mediaId: id }));
  await c.call('media: read its URL, with the number', () => media.get({ mediaId: id, phoneNumberId: c.number }));
  await c.call('media: download', () => media.download({ mediaId: id, auth: 'always' }));

  const text = await send('text', 'sendText', () => ({ body: 'Hello', previewUrl: true }));
  await send('text as a reply', 'sendText', () => ({ body: 'Yes', contextMessageId: c.inbound }));
  await send('text as a reply to our own message', 'sendText', () => ({ body: 'And this', contextMessageId: text?.messages?.[0]?.id ?? 'none' }));
  await c.call('send: text to a user id', () => messages.sendText({ phoneNumberId: c.number, recipient: `US.${c.recipients}777`, body: 'Hello' }));
  await send('text to a number and its user id', 'sendText', () => ({ recipient: `US.${c.recipients}778`, body: 'Hello' }));
  await send('text with callback data', 'sendText', () => ({ body: 'Hello', bizOpaqueCallbackData: 'mine' }));
  await send('image by id', 'sendImage', () => ({ image: { id, caption: 'A picture' } }));
  await send('image by link', 'sendImage', () => ({ image: { link: 'https://example.com/a.png' } }));
  await send('audio', 'sendAudio', () => ({ audio: { link: 'https://example.com/a.mp3' } }));
  await send('voice message', 'sendAudio', () => ({ audio: { link: 'https://example.com/a.ogg', voice: true } }));
  await send('video', 'sendVideo', () => ({ video: { link: 'https://example.com/a.mp4', caption: 'A video' } }));
  await send('document', 'sendDocument', () => ({ document: { link: 'https://example.com/a.pdf', filename: 'a.pdf', caption: 'A document' } }));
  await send('sticker', 'sendSticker', () => ({ sticker: { id } }));
  await send('location', 'sendLocation', () => ({ location: { latitude: -33.45, longitude: -70.66, name: 'Office', address: 'A street' } }));
  await send('contacts', 'sendContacts', () => ({ contacts: [{ name: { formattedName: 'Ada King', firstName: 'Ada' }, phones: [{ phone: '+15551234567', type: 'WORK' }] }] }));
  await send('reaction', 'sendReaction', () => ({ reaction: { messageId: c.inbound, emoji: '😀' } }));
  await send('reaction removed', 'sendReaction', () => ({ reaction: { messageId: c.inbound, emoji: '' } }));
  await send('template', 'sendTemplate', () => ({ template: { name: 'hello_world', language: { code: 'en_US' } } }));
  await send('template with parameters', 'sendTemplate', () => ({
    template: buildTemplateSendPayload({ name: 'order_shipped', language: 'en_US', body: [{ type: 'text', text: '1001' }] }),
  }));
  await send('template with named parameters', 'sendTemplate', () => ({
    template: buildTemplateSendPayload({ name: 'order_named', language: 'en_US', body: [{ type: 'text', text: '1001', parameterName: 'order' }] }),
  }));
  await send('template with buttons', 'sendTemplate', () => ({
    template: {
      name: 'order_buttons', language: { code: 'en_US' },
      components: [
        { type: 'header', parameters: [{ type: 'image', image: { id } }] },
        { type: 'body', parameters: [{ type: 'text', text: '1001' }] },
        { type: 'button', sub_type: 'url', index: '0', parameters: [{ type: 'text', text: '1001' }] },
        { type: 'button', sub_type: 'quick_reply', index: '1', parameters: [{ type: 'payload', payload: 'stop' }] },
      ],
    },
  }));
  await send('reply buttons', 'sendInteractiveButtons', () => ({
    header: { type: 'image', image: { id } }, bodyText: 'Pick one', footerText: 'Footer', buttons: [{ id: 'yes', title: 'Yes' }, { id: 'no', title: 'No' }],
  }));
  await send('list', 'sendInteractiveList', () => ({
    bodyText: 'Pick one', buttonText: 'Open', sections: [{ title: 'Drinks', rows: [{ id: 'tea', title: 'Tea', description: 'Hot' }, { id: 'juice', title: 'Juice' }] }],
  }));
  await send('URL button', 'sendInteractiveCtaUrl', () => ({ bodyText: 'See', parameters: { displayText: 'Dates', url: 'https://example.com/dates' } }));
  await send('flow', 'sendInteractiveFlow', () => ({
    bodyText: 'Book', parameters: { flowId: '123', flowCta: 'Open', flowToken: 'token', flowAction: 'navigate', flowActionPayload: { screen: 'WELCOME' } },
  }));
  await send('location request', 'sendInteractiveLocationRequest', () => ({ bodyText: 'Where are you?', parameters: { requestMessage: 'Where are you?' } }));
  await send('product', 'sendInteractiveProduct', () => ({ bodyText: 'This one', catalogId: '5', productRetailerId: 'SKU-1' }));
  await send('product list', 'sendInteractiveProductList', () => ({
    header: { type: 'text', text: 'Ours' }, bodyText: 'All', catalogId: '5', sections: [{ title: 'New', productItems: [{ productRetailerId: 'SKU-1' }] }],
  }));
  await send('catalog', 'sendInteractiveCatalogMessage', () => ({ bodyText: 'Browse', parameters: { thumbnailProductRetailerId: 'SKU-1' } }));
  await send('carousel', 'sendInteractiveCarousel', () => ({
    bodyText: 'Choose', cards: [0, 1].map(i => ({
      cardIndex: i, header: { type: 'image', image: { link: `https://example.com/${i}.jpg` } }, bodyText: `Card ${i}`,
      action: { type: 'cta_url', displayText: 'View', url: `https://example.com/${i}` },
    })),
  }));
  await send('address request', 'sendInteractiveAddress', () => ({ bodyText: 'Where to?', parameters: { country: 'IN' } }));
  await send('call permission request', 'sendInteractiveCallPermission', () => ({ bodyText: 'May we call?', parameters: { phoneNumber: '+15551234567' } }));
  await send('a message object', 'sendRaw', () => ({ payload: { messaging_product: 'whatsapp', to: c.to(), type: 'text', text: { body: 'raw' } } }));

  await c.call('mark as read', () => messages.markRead({ phoneNumberId: c.number, messageId: c.inbound }));
  await c.call('typing indicator', () => messages.markRead({ phoneNumberId: c.number, messageId: c.inbound, typingIndicator: { type: 'text' } }));

  await c.call('media: delete', () => media.delete({ mediaId: id }));

  const account = { businessAccountId: c.account };
  const listed = await c.call('templates: list', () => templates.list({ ...account, limit: 2, status: 'APPROVED' }));
  await c.call('templates: list the next page, by its link', () => client.fetch(listed?.paging?.next ?? 'http://no-next-page/'));
  await c.call('templates: create', () => templates.create({
    ...account, name: 'from_kapso', language: 'en_US', category: 'UTILITY', components: [{ type: 'BODY', text: 'Hello' }],
  }));
  await c.call('templates: read one below the account', () => templates.get({ ...account, templateId: '1' }));
  await c.call('templates: delete', () => templates.delete({ ...account, name: 'from_kapso' }));

  const number = { phoneNumberId: c.number };
  await c.call('number: read settings', () => phoneNumbers.settings.get(number));
  await c.call('number: change settings', () => phoneNumbers.settings.update({ ...number, calling: { status: 'ENABLED' } }));
  await c.call('number: read profile', () => phoneNumbers.businessProfile.get({ ...number, fields: 'about,email' }));
  await c.call('number: change profile', () => phoneNumbers.businessProfile.update({ ...number, about: 'We deliver.', websites: ['https://example.com/'] }));
  await c.call('number: request code', () => phoneNumbers.requestCode({ ...number, codeMethod: 'SMS', language: 'en_US' }));
  await c.call('number: verify code', () => phoneNumbers.verifyCode({ ...number, code: '123456' }));
  await c.call('number: register', () => phoneNumbers.register({ ...number, pin: '123456' }));
  await c.call('number: deregister', () => phoneNumbers.deregister(number));

  const call = await c.call('calls: connect', () => client.calls.connect({ ...number, to: c.to(), session: { sdpType: 'offer', sdp: 'v=0' } }));
  const callId = call?.calls?.[0]?.id ?? 'none';
  await c.call('calls: accept', () => client.calls.accept({ ...number, callId, session: { sdpType: 'answer', sdp: 'v=0' } }));
  await c.call('calls: terminate', () => client.calls.terminate({ ...number, callId }));
  await c.call('calls: read permission', () => client.calls.permissions.get({ ...number, userWaId: '15551234567' }));

  const json = { version: '7.2', screens: [{ id: 'A', terminal: true, layout: { type: 'SingleColumnLayout', children: [] } }] };
  const flow = await c.call('flows: create', () => flows.create({ wabaId: c.account, name: `survey${c.recipients}`, flowJson: json }));
  const flowId = flow?.id ?? '1';
  await c.call('flows: list', () => flows.list({ wabaId: c.account, limit: 10 }));
  await c.call('flows: read one', () => flows.get({ flowId, fields: 'id,name,status' }));
  await c.call('flows: upload JSON', () => flows.updateAsset({ flowId, json }));
  await c.call('flows: preview', () => flows.preview({ flowId }));
  await c.call('flows: publish', () => flows.publish({ flowId }));
  await c.call('flows: deprecate', () => flows.deprecate({ flowId }));
}

export async function inbox({ secret }) {
  const { verifySignature, normalizeWebhook } = await import('@kapso/whatsapp-cloud-api/server');
  return ({ raw, headers, statuses, messages }) => {
    if (!verifySignature({ appSecret: secret, rawBody: raw, signatureHeader: headers['x-hub-signature-256'] })) throw new Error('signature');
    const event = normalizeWebhook(JSON.parse(raw));
    statuses.push(...event.statuses.map(s => ({ id: s.id, status: s.status })));
    messages.push(...event.messages.map(m => ({ id: m.id, from: m.from, text: m.text?.body, context: m.context?.id })));
  };
}
