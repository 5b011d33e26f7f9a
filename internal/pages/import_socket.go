package pages

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"sluice/internal/importer"
	"sluice/internal/importfile"
)

// Limits of the connection of an import.
const (
	importChunk  = 256 << 10        // bytes of the file in one message; static/import.js sends as many
	importOrders = 10 * time.Second // until the first message
	importWrite  = 30 * time.Second // a browser must take a message within this time
	importAnswer = 10 * time.Second // and answer a ping
	importIdle   = 5 * time.Minute  // and send the next chunk: a page that sleeps would keep others from importing
)

// serverMessage is a message to the browser; one member is set. The lines of results are messages of their own, binary ones.
type serverMessage struct {
	Next     bool             `json:"next,omitempty"`     // the browser sends the next chunk of the file, an empty one after the last
	Head     *importfile.Head `json:"head,omitempty"`     // the first rows
	Progress *shownProgress   `json:"progress,omitempty"` // every importEvery
	Note     string           `json:"note,omitempty"`     // lines for the operator
	End      *importEnd       `json:"end,omitempty"`      // the last message
}

// importEnd is how an import ended.
type importEnd struct {
	Problem string `json:"problem,omitempty"` // why it ended before the end of the file
	Report  string `json:"report,omitempty"`  // what became of the rows, in lines
	Done    bool   `json:"done,omitempty"`    // all rows have a result
}

// shownProgress is how far an import is, with the texts of the page by the ids of their elements.
type shownProgress struct {
	Read  int64             `json:"read"` // bytes of the file
	Texts map[string]string `json:"texts"`
}

func progressOf(p importer.Progress) *shownProgress {
	left := "–"
	if p.Left > 0 {
		left = span(p.Left)
	}
	return &shownProgress{p.Read, map[string]string{
		"accepted": number(p.Accepted), "duplicate": number(p.Duplicate), "refused": number(p.Refused), "speed": rate(p.RowsPerSecond), "remaining": left,
	}}
}

// socket is the connection of an import to its browser.
type socket struct {
	conn   *websocket.Conn
	cancel context.CancelCauseFunc // ends the import
	chunks chan []byte             // of the file; the browser sends one when it is asked to

	receiving sync.WaitGroup
}

// openSocket answers the request of a browser for a connection.
func openSocket(w http.ResponseWriter, r *http.Request, cancel context.CancelCauseFunc) (*socket, error) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // Handler checks the origin, as of acts
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(importChunk)
	return &socket{conn: conn, cancel: cancel, chunks: make(chan []byte, 1)}, nil
}

// readOrder reads the first message.
func (c *socket) readOrder(into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), importOrders)
	defer cancel()
	_, text, err := c.conn.Read(ctx)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	return err
}

// receive reads what the browser sends, until the connection ends. Then it ends the import, and also when the browser asks for that.
func (c *socket) receive(ctx context.Context) {
	c.receiving.Go(func() {
		for {
			kind, data, err := c.conn.Read(context.WithoutCancel(ctx)) // a context that ends would close the connection
			if err != nil {
				c.cancel(errImportLeft)
				return
			}
			if kind == websocket.MessageText {
				c.cancel(errImportStopped)
				continue
			}
			select {
			case c.chunks <- data: // at once, unless the browser sends more than it was asked for
			case <-ctx.Done():
			}
		}
	})
}

// send sends a message. Without success it ends the import.
func (c *socket) send(m serverMessage) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.write(websocket.MessageText, text)
}

func (c *socket) write(kind websocket.MessageType, data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), importWrite)
	defer cancel()
	if err := c.conn.Write(ctx, kind, data); err != nil {
		c.cancel(errImportLeft)
		return errImportLeft
	}
	return nil
}

// ping ends the import if the browser does not answer.
func (c *socket) ping() {
	ctx, cancel := context.WithTimeout(context.Background(), importAnswer)
	defer cancel()
	if c.conn.Ping(ctx) != nil {
		c.cancel(errImportLeft)
	}
}

// end sends how the import ended, and closes the connection when the browser has read it.
func (c *socket) end(e importEnd) {
	if c.send(serverMessage{End: &e}) == nil {
		c.conn.Close(websocket.StatusNormalClosure, "")
	}
}

// close ends the connection, and with it receive.
func (c *socket) close() {
	c.conn.CloseNow()
	c.receiving.Wait()
}

// writer is a function that writes.
type writer func([]byte) error

func (w writer) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// notes returns the writer of lines for the operator.
func (c *socket) notes() io.Writer {
	return writer(func(text []byte) error { return c.send(serverMessage{Note: string(text)}) })
}

// results returns the writer of the file of results, which the browser keeps.
func (c *socket) results() io.Writer {
	return writer(func(lines []byte) error { return c.write(websocket.MessageBinary, lines) })
}

// upload reads the file of a browser: it asks for the next chunk when the last one is read, so no more than one is in memory.
type upload struct {
	ctx   context.Context // of the import
	c     *socket
	idle  time.Duration // how long a chunk may take
	chunk []byte
	ended bool
}

// Read implements io.Reader. It blocks until the browser has sent the next chunk, or the import has ended.
func (u *upload) Read(p []byte) (int, error) {
	if len(u.chunk) == 0 && !u.ended {
		if err := u.c.send(serverMessage{Next: true}); err != nil {
			return 0, err
		}
		select {
		case u.chunk = <-u.c.chunks:
		case <-u.ctx.Done():
			return 0, context.Cause(u.ctx)
		case <-time.After(u.idle):
			u.c.cancel(errImportIdle)
			return 0, errImportIdle
		}
		u.ended = len(u.chunk) == 0
	}
	if u.ended {
		return 0, io.EOF
	}
	n := copy(p, u.chunk)
	u.chunk = u.chunk[n:]
	return n, nil
}
