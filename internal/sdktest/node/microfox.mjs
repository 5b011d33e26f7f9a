// @microfox/whatsapp-business: takes baseUrl, which has the version.
import { WhatsAppBusinessSDK } from '@microfox/whatsapp-business';

export async function calls(c) {
  process.env.WHATSAPP_WEBHOOK_URL = 'https://example.com/hook'; // the SDK only checks that it is there
  const sdk = new WhatsAppBusinessSDK({ baseUrl: `${c.base}/v22.0`, phoneNumberId: c.number, businessAccountId: c.account, accessToken: c.key });
  const send = (name, make) => c.call(`send: ${name}`, () => make(c.to()));
  const link = ext => ({ link: `https://example.com/a.${ext}` });

  const uploaded = await c.call('media: upload', () => sdk.uploadMedia(new File([c.png], 'a.png', { type: 'image/png' }), 'image'));
  const id = uploaded?.data?.id ?? '1';
  await c.call('media: read its URL', () => sdk.getMediaUrl(id));
  await c.call('media: download', () => sdk.downloadMedia(id));

  const text = await send('text', to => sdk.sendTextMessage(to, 'Hello'));
  await send('text as a reply', to => sdk.sendReply(to, 'text', 'Yes', c.inbound));
  await send('text as a reply to our own message', to => sdk.sendReply(to, 'text', 'And this', text?.data?.messages?.[0]?.id ?? 'none'));
  await send('image by id', to => sdk.sendImageMessage(to, { id, caption: 'A picture' }));
  await send('image by link', to => sdk.sendImageMessage(to, link('png')));
  await send('audio', to => sdk.sendAudioMessage(to, link('mp3')));
  await send('video', to => sdk.sendVideoMessage(to, link('mp4')));
  await send('document', to => sdk.sendDocumentMessage(to, { ...link('pdf'), filename: 'a.pdf' }));
  await send('sticker', to => sdk.sendStickerMessage(to, { id }));
  await send('location', to => sdk.sendLocationMessage(to, { latitude: 1.5, longitude: 2.5, name: 'Office', address: 'A street' }));
  await send('contacts', to => sdk.sendContactMessage(to, [{ name: { formatted_name: 'Ada King', first_name: 'Ada' }, phones: [{ phone: '+15551234567', type: 'WORK' }] }]));
  await send('reaction', to => sdk.sendReaction(to, c.inbound, '👍'));
  await send('template', to => sdk.sendTemplateMessage(to, 'hello_world', 'en_US'));
  await send('template with parameters', to => sdk.sendTemplateMessage(to, 'order_shipped', 'en_US', [{ type: 'body', parameters: [{ type: 'text', text: '1001' }] }]));
  await send('reply buttons', to => sdk.sendInteractiveMessage(to, {
    type: 'button', body: { text: 'Pick' }, action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] },
  }));
  await send('list', to => sdk.sendInteractiveMessage(to, {
    type: 'list', body: { text: 'Pick' }, action: { button: 'Open', sections: [{ title: 'Drinks', rows: [{ id: 'tea', title: 'Tea' }] }] },
  }));
  await send('URL button', to => sdk.sendInteractiveMessage(to, {
    type: 'cta_url', body: { text: 'See' }, action: { name: 'cta_url', parameters: { display_text: 'Dates', url: 'https://example.com/dates' } },
  }));
  await send('URL button of type cta', to => sdk.sendInteractiveCtaMessage(to, 'See', 'https://example.com'));
  await send('flow', to => sdk.sendFlowMessage(to, {
    id: '123', token: 'token', header: { type: 'text', text: 'Book' }, body: { text: 'Book' }, footer: { text: 'Footer' },
    parameters: { flow_id: '123', flow_cta: 'Open', flow_action: 'navigate', flow_action_payload: { screen: 'WELCOME', data: { a: 'b' } } },
  }));
  await send('location request', to => sdk.sendLocationRequestMessage(to, 'Where are you?'));

  await c.call('mark as read', () => sdk.markMessageAsRead(c.inbound));
  await c.call('mark several as read', () => sdk.markMessagesAsRead([c.inbound]));
  await c.call('typing indicator', () => sdk.sendTypingIndicator({ messageId: c.inbound }));

  await c.call('templates: list', () => sdk.getTemplates());
  await c.call('templates: create', () => sdk.createTemplate({ name: 'from_microfox', category: 'UTILITY', language: 'en_US', components: [{ type: 'body', parameters: [] }] }));
  await c.call('templates: delete', () => sdk.deleteTemplate('from_microfox'));

  await c.call('number: list', () => sdk.getPhoneNumbers());
  await c.call('number: read profile', () => sdk.getBusinessProfile());
  await c.call('number: change profile', () => sdk.updateBusinessProfile({ about: 'We deliver.' }));
  await c.call('number: change conversational components', () => sdk.configureConversationalComponents({ enable_welcome_message: true, prompts: ['Book a flight'] }));
  await c.call('number: read the path qr_code', () => sdk.getQRCode());
  await c.call('number: read the path insights', () => sdk.getAnalytics());
  await c.call('number: register', () => sdk.registerPhone(c.number, '123456'));
  await c.call('number: deregister', () => sdk.deregisterPhone(c.number));
  await c.call('account: read commerce settings', () => sdk.getCommerceSettings());
  await c.call('account: change commerce settings', () => sdk.updateCommerceSettings({ is_cart_enabled: true, is_catalog_visible: true }));
}

// The SDK has a schema of webhooks, and leaves the signature to the program.
export async function inbox() {
  const { WebhookPayloadSchema } = await import('@microfox/whatsapp-business');
  return ({ raw, statuses, messages }) => {
    for (const entry of WebhookPayloadSchema.parse(JSON.parse(raw)).entry) {
      for (const { value } of entry.changes) {
        statuses.push(...(value.statuses ?? []).map(s => ({ id: s.id, status: s.status })));
        messages.push(...(value.messages ?? []).map(m => ({ id: m.id, from: m.from, text: m.text?.body })));
      }
    }
  };
}
