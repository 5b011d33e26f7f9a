package config

import (
	"hash/fnv"
	"slices"

	"go.yaml.in/yaml/v3"
)

// GraphVersions are the versions of the Graph API with which a number sends. The zero value is the version of Graph.
type GraphVersions struct {
	Version string // empty: that of Graph
	Canary  string // the version of a share of the messages; empty: there is none
	Share   int    // of the canary, in percent
}

// Of returns the version for a message by its id: each attempt of a message has the same one, whichever worker makes it. standard is the
// version of Graph.
func (v GraphVersions) Of(id, standard string) string {
	if v.Canary != "" {
		h := fnv.New32a()
		h.Write([]byte(id))
		if int(h.Sum32()%100) < v.Share {
			return v.Canary
		}
	}
	return v.Usual(standard)
}

// All returns the versions that a number uses, that of most messages first. standard is the version of Graph.
func (v GraphVersions) All(standard string) []string {
	all := []string{v.Usual(standard)}
	if v.Canary != "" && !slices.Contains(all, v.Canary) {
		all = append(all, v.Canary)
	}
	return all
}

// Usual returns the version of most messages. standard is the version of Graph.
func (v GraphVersions) Usual(standard string) string {
	if v.Version != "" {
		return v.Version
	}
	return standard
}

// graphVersion sets a version of the Graph API.
func graphVersion(dst *string) func(string) error {
	return pattern(dst, `v[0-9]{1,3}\.[0-9]{1,2}`, "a version like v25.0")
}

// graphCanary reads the canary of a number.
func (d *document) graphCanary(v *GraphVersions) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, []member{
			{key: "version", must: true, read: d.scalar(graphVersion(&v.Canary))},
			{key: "share", must: true, read: d.scalar(integer(&v.Share, 1, 100))},
		})
	}
}
