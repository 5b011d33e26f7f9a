// Command metapages names the pages of Meta's documentation whose text changed since they were last read. `make meta-check` runs it.
// The list of the pages is docs/meta-sources.md, which `make docs` writes.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

// seenFile has a line for each page that was read: hash of its text, date, address.
const seenFile = "internal/metapages/seen.txt"

func main() {
	accept := flag.Bool("accept", false, "write the hashes of the pages into "+seenFile+": what changed has been read")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	urls, err := pages()
	if err == nil {
		err = check(ctx, os.Stdout, urls, seenFile, *accept)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "metapages:", err)
		os.Exit(1)
	}
}

type reading struct{ hash, date string }

// check fetches each page and prints whether its text is the one in the file seen. With accept it writes what it fetched there.
// It returns an error if a page changed and is not accepted, or could not be fetched.
func check(ctx context.Context, out io.Writer, urls []string, seen string, accept bool) error {
	before, err := read(seen)
	if err != nil {
		return err
	}
	now := map[string]reading{}
	changed, failed := 0, 0
	for _, url := range urls {
		old, known := before[url]
		hash, err := fetch(ctx, url)
		switch {
		case err != nil:
			failed++
			fmt.Fprintf(out, "failed   %s: %v\n", url, err)
			if known {
				now[url] = old
			}
			continue
		case !known:
			changed++
			fmt.Fprintf(out, "new      %s\n", url)
		case old.hash != hash:
			changed++
			fmt.Fprintf(out, "changed  %s since %s\n", url, old.date)
		default:
			fmt.Fprintf(out, "same     %s since %s\n", url, old.date)
			now[url] = old
			continue
		}
		now[url] = reading{hash, time.Now().UTC().Format(time.DateOnly)}
	}
	if accept {
		if err := write(seen, now); err != nil {
			return err
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d pages could not be fetched. Open them in a browser: a page that moved needs its new address where %s says that it is cited", failed, len(urls), page)
	case changed > 0 && !accept:
		return fmt.Errorf("%d of %d pages are new or changed. Read them, correct what %s says that is cited from them, then run: make meta-check ACCEPT=1", changed, len(urls), page)
	}
	return nil
}

// fetch returns the hash of the text of a page.
func fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept-Language", "en-US")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("HTTP %d", answer.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	if err != nil {
		return "", err
	}
	words := text(string(body))
	if len(words) < 200 {
		return "", errors.New("the page has no text without a browser")
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(words))), nil
}

var (
	unread = regexp.MustCompile(`(?is)<!--.*?-->|<(script|style|noscript|head)\b.*?</(script|style|noscript|head)>`)
	tag    = regexp.MustCompile(`(?s)<[^>]*>`)
)

// text returns the words of a page. Its markup is different each time: it contains nonces and names of scripts.
func text(html string) string {
	return strings.Join(strings.Fields(tag.ReplaceAllString(unread.ReplaceAllString(html, " "), " ")), " ")
}

func read(file string) (map[string]reading, error) {
	all := map[string]reading{}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("%s:%d: want a hash, a date and an address", file, i+1)
		}
		all[f[2]] = reading{f[0], f[1]}
	}
	return all, nil
}

func write(file string, all map[string]reading) error {
	var b strings.Builder
	for _, url := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s %s %s\n", all[url].hash, all[url].date, url)
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}
