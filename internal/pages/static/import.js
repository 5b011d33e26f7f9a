// The page Import: sends a file to the producer, chunk by chunk as the producer asks for them, and shows what comes back. The results
// stay in the browser. See internal/pages/import.go.
'use strict';

(() => {
  const CHUNK = 256 * 1024; // importChunk of internal/pages
  const element = id => document.getElementById(id);
  const form = element('import');
  if (!form) return;
  const names = ['to', 'key', 'from', 'campaign', 'text', 'class', 'ref', 'tags', 'send_at', 'expires_at', 'fallback_template', 'name', 'format', 'encoding', 'delimiter'];
  const lists = ['template', 'param'];
  const show = (id, shown) => { element(id).hidden = !shown; };
  const write = (id, text) => { element(id).textContent = text; show(id, text !== ''); };
  let running = null; // the connection of a check or of sending
  let reading = null; // the connection that reads the first rows
  let typed = form.elements.param; // the field that was used last: a column is written into it

  function order(action, file) {
    const mapping = {};
    for (const name of names) mapping[name] = form.elements[name].value.trim();
    for (const name of lists) mapping[name] = form.elements[name].value.split('\n').map(line => line.trim()).filter(line => line);
    return { action, file: file.name, size: file.size, reason: form.elements.reason.value.trim(), mapping };
  }

  // connect gives an order for the chosen file. It calls the functions of on with what comes back, and on.end once.
  function connect(action, on) {
    const file = form.elements.file.files[0];
    const socket = new WebSocket(location.origin.replace(/^http/, 'ws') + '/console/import/socket');
    let at = 0, ended = false;
    const end = how => {
      if (ended) return;
      ended = true;
      socket.close();
      on.end(how);
    };
    socket.onopen = () => socket.send(JSON.stringify(order(action, file)));
    socket.onclose = () => end({ problem: 'The connection to the producer is lost, or your session has ended. Load the page again and choose the file again: no row is sent twice.' });
    socket.onmessage = async event => {
      if (typeof event.data !== 'string') return on.results?.(event.data);
      const said = JSON.parse(event.data);
      if (said.end) return end(said.end);
      on.said?.(said);
      if (!said.next) return;
      try {
        const chunk = await file.slice(at, at + CHUNK).arrayBuffer();
        at += chunk.byteLength;
        if (socket.readyState === WebSocket.OPEN) socket.send(chunk);
      } catch {
        end({ problem: 'The file cannot be read any more, or was changed. Choose it again: no row is sent twice.' });
      }
    };
    return socket;
  }

  // first shows the first rows of the chosen file.
  function first() {
    if (running || !form.elements.file.files[0]) return;
    if (reading) reading.onclose = reading.onmessage = null;
    reading?.close();
    write('problem', '');
    reading = connect('head', {
      said: said => { if (said.head) rows(said.head); },
      end: how => { reading = null; if (how.problem) { show('head', false); write('problem', how.problem); } },
    });
  }

  function rows(head) {
    const csv = head.Format === 'csv';
    element('head-hint').textContent = csv
      ? 'The first rows. Choose a column to write it where you typed last.'
      : 'NDJSON: each line is a complete message, and the fields about columns stay empty.';
    element('columns').replaceChildren(...(head.Columns || []).map(name => {
      const cell = document.createElement('th'), button = document.createElement('button');
      cell.scope = 'col';
      button.type = 'button';
      button.textContent = name;
      button.onclick = () => insert(name);
      cell.append(button);
      return cell;
    }));
    element('rows').replaceChildren(...(head.Rows || []).map(cells => {
      const row = document.createElement('tr');
      row.append(...cells.map(text => {
        const cell = document.createElement('td');
        cell.textContent = text.length > 200 ? text.slice(0, 200) + '…' : text;
        return cell;
      }));
      return row;
    }));
    element('names').replaceChildren(...(head.Columns || []).map(name => {
      const option = document.createElement('option');
      option.value = name;
      return option;
    }));
    show('head', true);
  }

  function insert(name) {
    if (typed.list) typed.value = name; // it is the name of a column
    else typed.setRangeText('{{' + name + '}}', typed.selectionStart, typed.selectionEnd, 'end');
    typed.focus();
  }

  // run checks or sends the file.
  function run(action) {
    const send = action === 'send', file = form.elements.file.files[0].name;
    const campaign = form.elements.campaign.value.trim();
    let results = [];
    const notes = [];
    element('running-title').textContent = (send ? 'Sending ' : 'Checking, nothing is sent: ') + file;
    element('bar').max = Math.max(form.elements.file.files[0].size, 1);
    element('bar').value = 0;
    for (const id of ['accepted', 'duplicate', 'refused']) element(id).textContent = '0';
    for (const id of ['speed', 'remaining']) element(id).textContent = '–';
    write('problem', '');
    show('notes', false);
    show('result', false);
    show('keep', send);
    show('running', true);
    show('import-stop', true);
    element('import-check').disabled = element('import-submit').disabled = true;
    running = connect(action, {
      results: part => {
        results.push(part);
        if (results.length > 64) results = [new Blob(results)]; // a Blob is not in the memory of the page
      },
      said: said => {
        if (said.progress) {
          element('bar').value = said.progress.read;
          for (const [id, text] of Object.entries(said.progress.texts)) element(id).textContent = text;
        }
        if (said.note) {
          notes.push(said.note);
          if (notes.length > 200) notes.shift();
          element('note').textContent = notes.join('');
          show('notes', true);
        }
      },
      end: how => {
        running = null;
        show('import-stop', false);
        show('keep', false);
        element('import-check').disabled = element('import-submit').disabled = false;
        if (how.done) element('bar').value = element('bar').max;
        element('running-title').textContent = how.done ? (send ? 'Sent: ' : 'Checked, nothing was sent: ') + file : 'Not complete: ' + file;
        write('problem', how.problem || '');
        element('result-title').textContent = send ? 'What became of the rows' : 'Nothing was sent';
        element('report').textContent = how.report || '';
        URL.revokeObjectURL(element('download').href);
        element('download').href = URL.createObjectURL(new Blob(results, { type: 'text/csv' }));
        element('download').download = file.replace(/(\.(csv|ndjson|jsonl|txt|gz))+$/i, '') + (send ? '-results.csv' : '-mistakes.csv');
        element('download').textContent = send ? 'Download the results' : 'Download the mistakes';
        show('campaign', send && campaign !== '' && !campaign.includes('{{'));
        element('campaign').href = '/console/campaigns/' + encodeURIComponent(campaign);
        show('result', results.length > 0 || !!how.report);
      },
    });
  }

  form.addEventListener('submit', event => {
    event.preventDefault();
    const action = event.submitter?.value || 'check';
    if (running) return;
    if (action === 'send' && !form.elements.reason.value.trim()) {
      write('problem', 'Give a reason: the audit log shows it with your name.');
      form.elements.reason.focus();
      return;
    }
    run(action);
  });
  form.addEventListener('change', event => {
    if (['file', 'format', 'encoding', 'delimiter'].includes(event.target.name)) first();
  });
  form.addEventListener('focusin', event => {
    if (['to', 'key', 'ref', 'campaign', 'param', 'text', 'template'].includes(event.target.name)) typed = event.target;
  });
  element('import-stop').addEventListener('click', () => running?.send('stop'));
  addEventListener('beforeunload', event => { if (running) event.preventDefault(); });
  first(); // the browser keeps a chosen file when it loads the page again
})();
