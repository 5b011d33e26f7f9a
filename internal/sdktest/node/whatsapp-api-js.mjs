// whatsapp-api-js: has no base URL, but takes the function that makes its requests. This is where a program puts another host.
import { WhatsAppAPI } from 'whatsapp-api-js';
import * as m from 'whatsapp-api-js/messages';

export async function calls(c) {
  const api = new WhatsAppAPI({
    token: c.key, appSecret: 'unused', v: 'v23.0',
    ponyfill: { fetch: (url, init) => fetch(String(url).replace('https://graph.facebook.com', c.base), init) },
  });
  const send = (name, make, context) => c.call(`send: ${name}`, () => api.sendMessage(c.number, { phone: c.to() }, make(), context));
  const form = new FormData();
  form.set('file', c.png, 'a.png');

  const uploaded = await c.call('media: upload', () => api.uploadMedia(c.number, form));
  const id = uploaded?.id ?? '1';
  await c.call('media: read its URL', () => api.retrieveMedia(id));
  const described = await c.call('media: read its URL, with the number', () => api.retrieveMedia(id, c.number));
  await c.call('media: download', async () => {
    const response = await api.fetchMedia(described?.url ?? c.base);
    if (!response.ok) throw new Error(`status ${response.status}`);
    await response.arrayBuffer();
  });

  const text = await send('text', () => new m.Text('Hello', true));
  await send('text as a reply', () => new m.Text('Yes'), c.inbound);
  await send('text as a reply to our own message', () => new m.Text('And this'), text?.messages?.[0]?.id ?? 'none');
  await c.call('send: text to a user id', () => api.sendMessage(c.number, { bsuid: `US.${c.recipients}778` }, new m.Text('Hello')));
  await send('image by id', () => new m.Image(id, true, 'A picture'));
  await send('image by link', () => new m.Image('https://example.com/a.png'));
  await send('audio', () => new m.Audio('https://example.com/a.mp3'));
  await send('voice message', () => new m.Audio('https://example.com/a.ogg', false, true));
  await send('video', () => new m.Video('https://example.com/a.mp4', false, 'A video'));
  await send('document', () => new m.Document('https://example.com/a.pdf', false, 'A document', 'a.pdf'));
  await send('sticker', () => new m.Sticker(id, true));
  await send('location', () => new m.Location(2.5, 1.5, 'Office', 'A street'));
  await send('contacts', () => new m.Contacts([new m.Name('Ada King', 'Ada'), new m.Phone('+15551234567', 'WORK'), new m.Email('ada@example.com', 'WORK')]));
  await send('reaction', () => new m.Reaction(c.inbound, '👍'));
  await send('reaction removed', () => new m.Reaction(c.inbound));
  await send('template', () => new m.Template('hello_world', 'en_US'));
  await send('template with parameters', () => new m.Template('order_shipped', 'en_US', new m.BodyComponent(new m.BodyParameter('1001'))));
  await send('template with named parameters', () => new m.Template('order_named', 'en_US', new m.BodyComponent(new m.BodyParameter('1001', 'order'))));
  await send('template with buttons', () => new m.Template('order_buttons', 'en_US',
    new m.HeaderComponent(new m.HeaderParameter(new m.Image(id, true))), new m.BodyComponent(new m.BodyParameter('1001')),
    new m.URLComponent('1001'), new m.PayloadComponent('stop')));
  await send('template with a login code', () => m.Template.OTP('login_code', 'en_US', '123456'));
  await send('template with a carousel', () => new m.Template('order_cards', 'en_US', new m.BodyComponent(new m.BodyParameter('x')), new m.CarouselComponent(
    ...[0, 1].map(i => new m.CarouselCard(new m.Image(id, true), new m.BodyComponent(new m.BodyParameter(`card ${i}`)), new m.PayloadComponent(`more ${i}`))))));
  await send('reply buttons', () => new m.Interactive(new m.ActionButtons(new m.Button('yes', 'Yes'), new m.Button('no', 'No')), new m.Body('Pick'), new m.Header('Title'), new m.Footer('Footer')));
  await send('list', () => new m.Interactive(new m.ActionList('Open', new m.ListSection('Drinks', new m.Row('tea', 'Tea', 'Hot'))), new m.Body('Pick')));
  await send('URL button', () => new m.Interactive(new m.ActionCTA('Dates', 'https://example.com/dates'), new m.Body('See')));
  await send('flow', () => new m.Interactive(new m.ActionNavigateFlow('token', '123', 'Open', 'WELCOME', { a: 'b' }), new m.Body('Book')));
  await send('location request', () => new m.Interactive(new m.ActionLocation(), new m.Body('Where are you?')));
  await send('product', () => new m.Interactive(new m.ActionProduct(new m.CatalogProduct('SKU-1', '5')), new m.Body('This one')));
  await send('product list', () => new m.Interactive(new m.ActionProductList('5', new m.ProductSection('New', new m.Product('SKU-1'))), new m.Body('All'), new m.Header('Ours')));
  await send('catalog', () => new m.Interactive(new m.ActionCatalog(new m.Product('SKU-1')), new m.Body('Browse')));
  await send('call permission request', () => new m.Interactive(new m.ActionCallPermission(), new m.Body('May we call?')));
  await send('contact request', () => new m.Interactive(new m.ActionContactRequest(), new m.Body('Your number?')));

  await c.call('mark as read', () => api.markAsRead(c.number, c.inbound));
  await c.call('typing indicator', () => api.markAsRead(c.number, c.inbound, 'text'));

  await c.call('media: delete', () => api.deleteMedia(id));

  const qr = await c.call('QR codes: create', () => api.createQR(c.number, 'Hello', 'png'));
  const code = qr?.code ?? 'AAAAAAAAAAAAAA';
  await c.call('QR codes: list', () => api.retrieveQR(c.number));
  await c.call('QR codes: read one', () => api.retrieveQR(c.number, code));
  await c.call('QR codes: change', () => api.updateQR(c.number, code, 'Hello again'));
  await c.call('QR codes: delete', () => api.deleteQR(c.number, code));

  await c.call('blocked users: block', () => api.blockUser(c.number, { phone: '+15559999001' }));
  await c.call('blocked users: unblock', () => api.unblockUser(c.number, { phone: '+15559999001' }));

  const call = await c.call('calls: connect', () => api.initiateCall(c.number, { phone: c.to() }, 'v=0'));
  const callId = call?.calls?.[0]?.id ?? 'none';
  await c.call('calls: accept', () => api.acceptCall(c.number, callId, 'v=0'));
  await c.call('calls: terminate', () => api.terminateCall(c.number, callId));
}

export async function inbox({ secret, key }) {
  const api = new WhatsAppAPI({ token: key, appSecret: secret, v: 'v23.0' });
  return async ({ raw, headers, statuses, messages }) => {
    api.on.status = s => { statuses.push({ id: s.id, status: s.status }); };
    api.on.message = ({ message, from }) => { messages.push({ id: message.id, from, text: message.text?.body, context: message.context?.id }); };
    await api.post(JSON.parse(raw), raw, headers['x-hub-signature-256']);
  };
}
