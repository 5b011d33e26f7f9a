package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sluice/client"
	"sluice/internal/graphsim"
)

// manyHistories is how many messages with a broken invariant get a history.
const manyHistories = 25

// history has all that is known about one message.
type history struct {
	Breaches []string            `json:"breaches"`
	Order    order               `json:"order"`
	Record   client.Record       `json:"record"`
	Received []graphsim.Accepted `json:"received"`
	Log      []string            `json:"log"`
}

// keep writes the history of a broken row to a folder, which it returns: what the row did and when, everything that
// the programs printed, and for each message with a broken invariant its order, its record, what the far side
// received and the lines of the logs that name it.
func (r *run) keep(dir string, e findings, broken []breach) (string, error) {
	dir = filepath.Join(dir, fmt.Sprintf("%s-%d", r.row.id, r.seed))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("keep the history: %w", err)
	}
	var words []string
	by := map[string]*history{}
	for _, b := range broken {
		words = append(words, b.String())
		if b.ID == "" {
			continue
		}
		if by[b.ID] == nil && len(by) < manyHistories {
			by[b.ID] = &history{Record: e.records[b.ID], Received: e.taken[b.ID]}
		}
		if h := by[b.ID]; h != nil {
			h.Breaches = append(h.Breaches, b.String())
		}
	}
	for _, o := range e.orders {
		if h := by[o.ID]; h != nil {
			h.Order = o
		}
	}
	for _, p := range r.Children() {
		if err := search(p.Log, by); err != nil {
			return dir, fmt.Errorf("keep the history: %w", err)
		}
		b, err := os.ReadFile(p.Log)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(p.Log)), b, 0o644)
		}
		if err != nil {
			return dir, fmt.Errorf("keep the history: %w", err)
		}
	}
	for id, h := range by {
		b, err := json.MarshalIndent(h, "", "  ")
		if err != nil {
			return dir, fmt.Errorf("keep the history: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, id+".json"), b, 0o644); err != nil {
			return dir, fmt.Errorf("keep the history: %w", err)
		}
	}
	for name, lines := range map[string][]string{"story.txt": r.story, "breaches.txt": words} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			return dir, fmt.Errorf("keep the history: %w", err)
		}
	}
	return dir, nil
}

// search adds each line of a log that names one of the messages to the history of the message.
func search(log string, by map[string]*history) error {
	f, err := os.Open(log)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		for id, h := range by {
			if strings.Contains(lines.Text(), id) {
				h.Log = append(h.Log, filepath.Base(log)+": "+lines.Text())
			}
		}
	}
	return nil // a line that is too long ends only the search
}
