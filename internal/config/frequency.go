package config

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// FrequencyCap is how many messages a person gets from a client in a time.
type FrequencyCap struct {
	Messages int      `json:"messages" doc:"How many messages, 1 to 1000."`
	Within   string   `json:"within" doc:"In which time, like 24h or 168h. 1h to 720h."`
	Classes  []string `json:"classes,omitempty" doc:"Messages of which classes count together, of marketing, utility and service. Absent: marketing."`
}

// The limits of a frequency cap.
const (
	frequencyMost     = 1000
	frequencyShortest = time.Hour
	frequencyLongest  = 30 * 24 * time.Hour
)

// frequencyCaps reads a list of frequency caps.
func (d *document) frequencyCaps(dst *[]FrequencyCap) func(string, *yaml.Node) {
	return d.list(func(path string, n *yaml.Node) {
		var one FrequencyCap
		d.mapping(path, n, []member{
			{key: "messages", must: true, read: d.scalar(integer(&one.Messages, 1, frequencyMost))},
			{key: "within", must: true, read: d.scalar(func(s string) error {
				var within time.Duration
				one.Within = s
				return duration(&within, frequencyShortest, frequencyLongest)(s)
			})},
			{key: "classes", read: d.choices(&one.Classes, "marketing", "utility", "service")},
		})
		*dst = append(*dst, one)
	})
}
