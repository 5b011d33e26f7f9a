package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// defaultFile is read if it exists and no other file is named.
const defaultFile = "sluice.yaml"

// DefaultRate is the rate limit of a number whose configuration names none, in messages per
// second: Meta's standard throughput.
const DefaultRate = 80

// The names of the classes and of the in-doubt policies. The package message implements them.
var (
	classNames      = []string{"authentication", "service", "utility", "marketing"}
	inDoubtPolicies = []string{"resend", "park", "close"}
)

// file reads the configuration file at path. An empty path means defaultFile, if it exists.
func (l *loader) file(path string, settings []setting) {
	named := path != ""
	if !named {
		path = defaultFile
	}
	b, err := os.ReadFile(path)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		l.fail("configuration file", err)
		return
	}
	d := &document{loader: l, name: path}
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	var root yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF): // empty
		return
	case err != nil:
		l.fail(path, err)
		return
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.fail(path, errors.New("has more than one YAML document: keep one"))
	}
	d.root(root.Content[0], settings)
}

// document is the file while it is being read.
type document struct {
	*loader
	name   string // empty: a place in it has no line
	stored bool   // it has entries to store, see ParseEntries
}

// root reads the whole document.
func (d *document) root(n *yaml.Node, settings []setting) {
	top := []member{
		{key: "numbers", read: d.list(d.number)},
		{key: "apps", read: d.list(d.app)},
		{key: "api_keys", read: d.list(d.apiKey)},
		{key: "clients", read: d.list(d.client)},
		{key: "classes", read: d.classes(&d.Classes)},
		{key: "canary", read: d.list(d.canary)},
		{key: "stop_words", read: d.words(&d.StopWords)},
		{key: "start_words", read: d.words(&d.StartWords)},
		{key: "time_zones", read: d.timeZones},
	}
	groups := map[string][]member{}
	for _, s := range settings {
		set := d.scalar(s.set)
		if s.path {
			set = d.scalar(d.resolved(s.set))
		}
		group, key, nested := strings.Cut(s.key, ".")
		if !nested {
			top = append(top, member{key: s.key, read: set})
			continue
		}
		if groups[group] == nil {
			top = append(top, member{key: group, read: func(path string, n *yaml.Node) { d.mapping(path, n, groups[group]) }})
		}
		groups[group] = append(groups[group], member{key: key, read: set})
	}
	d.mapping("", n, top)
}

func (d *document) number(path string, n *yaml.Node) {
	one := number{}
	if !d.mapping(path, n, d.ofNumber(&one)) {
		return
	}
	if one.Rate == 0 {
		one.Rate, one.Learn = DefaultRate, true
	}
	for _, other := range d.numbers {
		if other.ID == one.ID {
			d.wrong(path+".phone_number_id", n, fmt.Errorf("phone number id %s is in the list twice: remove one", one.ID))
		}
	}
	d.numbers = append(d.numbers, one)
}

func (d *document) app(path string, n *yaml.Node) {
	var one app
	if !d.mapping(path, n, d.ofApp(&one)) {
		return
	}
	for _, other := range d.apps {
		if other.Name == one.Name {
			d.wrong(path+".name", n, fmt.Errorf("app %s is in the list twice: remove one", one.Name))
		}
	}
	d.apps = append(d.apps, one)
}

func (d *document) apiKey(path string, n *yaml.Node) {
	var one APIKey
	if !d.mapping(path, n, d.ofAPIKey(&one)) {
		return
	}
	for _, other := range d.keys {
		if other.Name == one.Name || other.SHA256 == one.SHA256 {
			d.wrong(path, n, fmt.Errorf("has the name or the key of another API key: %s", other.Name))
		}
	}
	d.keys = append(d.keys, one)
}

func (d *document) client(path string, n *yaml.Node) {
	var one Client
	if !d.mapping(path, n, d.ofClient(&one)) {
		return
	}
	for _, other := range d.Clients {
		if other.Name == one.Name {
			d.wrong(path+".name", n, fmt.Errorf("client %s is in the list twice: remove one", one.Name))
		}
	}
	d.Clients = append(d.Clients, one)
}

func (d *document) canary(path string, n *yaml.Node) {
	one := canary{Canary: Canary{Every: defaultCanary}}
	if !d.mapping(path, n, d.ofCanary(&one)) {
		return
	}
	if one.Within == 0 {
		one.Within = min(one.Every/2, maxCanaryWait)
	}
	wrong := func(is bool, key, mistake string) {
		if is {
			d.wrong(path+key, n, errors.New(mistake))
		}
	}
	wrong((one.To == "") == (one.toFile == ""), "", "needs either to or to_file: the recipient of the canary")
	wrong((one.Template == "") == (one.Text == ""), "", "needs either template or text: what the canary sends")
	wrong(one.Within >= one.Every, ".within", fmt.Sprintf("is not shorter than every (%s), so canaries would overlap: shorten it", one.Every))
	for _, other := range d.canaries {
		wrong(other.Number == one.Number, ".phone_number_id", "the number has another canary in the list: remove one")
	}
	d.canaries = append(d.canaries, one)
}

// templateClass reads an entry of the list that assigns classes to the templates of a number.
func (d *document) templateClass(of *number) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		var one TemplateClass
		known := []member{
			{key: "name", must: true, read: d.scalar(pattern(&one.Name, `[a-z0-9_*]{1,512}`, "a template's name, of a-z, 0-9, _ and *"))},
			{key: "class", must: true, read: d.scalar(oneOf(&one.Class, classNames...))},
		}
		if d.mapping(path, n, known) {
			of.TemplateClasses = append(of.TemplateClasses, one)
		}
	}
}

// classes reads a mapping from class names to their settings.
func (d *document) classes(dst *map[string]Class) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		*dst = map[string]Class{}
		var known []member
		for _, name := range classNames {
			known = append(known, member{key: name, read: func(path string, n *yaml.Node) {
				var c Class
				d.mapping(path, n, d.ofClass(&c))
				(*dst)[name] = c
			}})
		}
		d.mapping(path, n, known)
	}
}

// mapping calls the function of its key for each member of n. It reports whether all are valid and none of the
// required ones is missing.
func (d *document) mapping(path string, n *yaml.Node, known []member) bool {
	before := len(d.errs)
	if n.Kind != yaml.MappingNode {
		d.wrong(path, n, fmt.Errorf("must be a mapping with the keys %s", keys(known)))
		return false
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		full := strings.TrimPrefix(path+"."+key.Value, ".")
		at := slices.IndexFunc(known, func(m member) bool { return m.key == key.Value })
		switch {
		case at < 0:
			d.wrong(full, key, fmt.Errorf("unknown key; valid keys: %s", keys(known)))
		case seen[key.Value]:
			d.wrong(full, key, errors.New("is given twice: remove one"))
		default:
			known[at].read(full, value)
		}
		seen[key.Value] = true
	}
	for _, m := range known {
		if m.must && !seen[m.key] {
			d.wrong(path+"."+m.key, n, errors.New("is missing"))
		}
	}
	return len(d.errs) == before
}

// list calls read for each entry of a sequence.
func (d *document) list(read func(string, *yaml.Node)) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			d.wrong(path, n, errors.New("must be a list with at least one entry"))
			return
		}
		for i, entry := range n.Content {
			read(fmt.Sprintf("%s[%d]", path, i), entry)
		}
	}
}

// scalar calls set with a single value, as it is written.
func (d *document) scalar(set func(string) error) func(string, *yaml.Node) {
	return func(path string, n *yaml.Node) {
		switch {
		case n.Kind != yaml.ScalarNode:
			d.wrong(path, n, errors.New("must be a single value"))
		case n.Value == "" || n.ShortTag() == "!!null":
			d.wrong(path, n, errors.New("has no value: give one, or leave the key out"))
		default:
			d.wrong(path, n, set(n.Value))
		}
	}
}

// resolved makes relative file names relative to the folder of the document. A stored entry belongs to no folder.
func (d *document) resolved(set func(string) error) func(string) error {
	return func(s string) error {
		switch {
		case filepath.IsAbs(s):
		case d.stored:
			return errors.New("is not an absolute path: give the path that all workers can read, or set the access token itself")
		default:
			s = filepath.Join(filepath.Dir(d.name), s)
		}
		return set(s)
	}
}

// wrong adds a mistake with its line, unless err is nil.
func (d *document) wrong(path string, n *yaml.Node, err error) {
	if d.name != "" {
		path = strings.TrimSuffix(fmt.Sprintf("%s:%d: %s", d.name, n.Line, path), ": ")
	}
	d.fail(path, err)
}

func keys(known []member) string {
	var all []string
	for _, m := range known {
		all = append(all, m.key)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// name sets the name of an app or an API key.
func name(dst *string) func(string) error {
	return pattern(dst, `[a-z0-9][a-z0-9-]{0,31}`, "1 to 32 of a-z, 0-9 and -")
}

func numberID(dst *string) func(string) error {
	return id(dst, `[0-9]{1,32}`, "is not a phone number id: that is Meta's id of the number, digits only, not the number itself")
}

func accountID(dst *string) func(string) error {
	return id(dst, `[0-9]{1,32}`, "is not an id of a messaging account: Meta's id, digits only")
}

func phoneNumber(dst *string) func(string) error {
	return id(dst, `\+[1-9][0-9]{6,14}`, `is not a phone number like "+15551234567": a plus, the country code and the rest, digits only`)
}

func idOrAll(dst *string) func(string) error {
	return id(dst, `\*|[0-9]{1,32}`, `is neither a phone number id (digits only) nor "*" for all`)
}

// id does not quote the value in its error, because it may be a phone number.
func id(dst *string, expr, mistake string) func(string) error {
	set := pattern(dst, expr, "")
	return func(s string) error {
		if set(s) != nil {
			return errors.New(mistake)
		}
		return nil
	}
}

// digest does not quote the value in its error, because it may be the key itself.
func digest(dst *[32]byte) func(string) error {
	return func(s string) error {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != len(dst) {
			return errors.New("is not a SHA-256 in hex; make it with: printf %s \"$KEY\" | sha256sum")
		}
		for _, nothing := range []string{"", "\n", " ", byteOrderMark} {
			if [sha256.Size]byte(b) == sha256.Sum256([]byte(nothing)) {
				return errors.New("is the SHA-256 of no key: was $KEY empty? Make it with: printf %s \"$KEY\" | sha256sum")
			}
		}
		copy(dst[:], b)
		return nil
	}
}

// note sets a note for operators.
func note(dst *string) func(string) error {
	return func(s string) error {
		if utf8.RuneCountInString(s) > 500 {
			return errors.New("is longer than 500 characters: shorten it")
		}
		*dst = s
		return nil
	}
}
