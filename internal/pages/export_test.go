package pages

import "time"

// Check sets how often the session of a stream is checked.
func Check(p *Pages, every time.Duration) { p.check = every }

// Idle sets how long the browser of an import may send nothing.
func Idle(p *Pages, limit time.Duration) { p.idle = limit }

// Streams sets how many live pages there may be.
func Streams(p *Pages, most int) { p.streams.most = most }

// Addresses returns an address of every page.
func Addresses() (all_ []string) {
	for _, pg := range all() {
		all_ = append(all_, root+pg.path)
	}
	return all_
}
