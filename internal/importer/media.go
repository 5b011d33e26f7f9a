package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/importfile"
	"sluice/internal/message"
)

const (
	// mediaMost is how many different links a dry run checks, and mediaAtOnce how many at once: the API checks 16 for all.
	mediaMost   = 200
	mediaAtOnce = 4
)

// mediaLink is a link to a file, and the kind of media that the message needs there.
type mediaLink struct{ kind, link string }

// mediaCheck collects the links in messages, and checks each different one once.
type mediaCheck struct {
	seen     map[mediaLink]bool
	links    []mediaLink         // the first mediaMost, in the order of the messages
	all      importfile.Distinct // all of them
	problems []string            // what is wrong, by links
	checked  int
	wrong    int
}

// add collects the links in Meta's message object.
func (m *mediaCheck) add(payload json.RawMessage) {
	var object any
	if json.Unmarshal(payload, &object) == nil {
		m.walk(object)
	}
}

// walk finds the objects with a link: content of a message, headers, and parameters of templates.
func (m *mediaCheck) walk(value any) {
	switch v := value.(type) {
	case []any:
		for _, one := range v {
			m.walk(one)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			one := v[name]
			file, _ := one.(map[string]any)
			if link, ok := file["link"].(string); ok && slices.Contains(message.MediaKinds(), name) {
				m.note(mediaLink{name, link})
			}
			m.walk(one)
		}
	}
}

func (m *mediaCheck) note(l mediaLink) {
	m.all.Add(l.kind + " " + l.link)
	if m.seen[l] || len(m.links) == mediaMost {
		return
	}
	if m.seen == nil {
		m.seen = map[mediaLink]bool{}
	}
	m.seen[l], m.links = true, append(m.links, l)
}

// run checks the links. Its error means that the API cannot check them.
func (m *mediaCheck) run(ctx context.Context, api *client.Client) error {
	found := make([]string, len(m.links))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(mediaAtOnce)
	for i, l := range m.links {
		g.Go(func() error {
			_, err := api.CheckMedia(ctx, l.kind, l.link)
			p, refused := errors.AsType[*client.Problem](err)
			if refused && p.Status == http.StatusUnprocessableEntity && len(p.Errors) > 0 {
				found[i] = fmt.Sprintf("%s (%s): %s", l.link, l.kind, p.Errors[0].Detail)
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("check media: %w", err)
	}
	m.checked = len(m.links)
	for _, text := range found {
		if text != "" {
			m.problems, m.wrong = append(m.problems, text), m.wrong+1
		}
	}
	return nil
}

// report prints what was found; nothing without a link.
func (m *mediaCheck) report(out io.Writer) {
	if m.all.Count() == 0 {
		return
	}
	fmt.Fprintf(out, "media: %d of %d different links checked, %d with a problem\n", m.checked, m.all.Count(), m.wrong)
	for _, text := range m.problems {
		fmt.Fprintln(out, text)
	}
}
