// Package dashboards makes the Grafana dashboards of deploy/grafana from short descriptions, so that all of them look and
// work alike, and a test can check each expression.
package dashboards

import (
	"encoding/json"
	"fmt"
)

// Dashboard is a dashboard of Grafana.
type Dashboard struct {
	UID   string // fixed, so that links to it survive a new import; also the name of its file
	Title string
	About string // what it is for
	Vars  []Variable
	Rows  []Row
}

// Variable is a list from which the reader chooses label values.
type Variable struct {
	Name, Label, About string
	Metric             string // the values are those of a label of this metric
	Of                 string // that label
	Multi              bool   // several values, or all of them
}

// Row is a group of panels under a heading.
type Row struct {
	Title  string
	Panels []Panel
}

// Panel shows the results of queries.
type Panel struct {
	Kind    Kind
	Title   string
	About   string // what it shows, and what is good or bad
	Unit    string // of Grafana
	Queries []Query
}

// Kind is a type of panel of Grafana.
type Kind string

// The kinds.
const (
	Lines Kind = "timeseries" // over time
	Value Kind = "stat"       // the latest value
	Bars  Kind = "bargauge"   // one bar for each query
)

// Query is an expression of PromQL and the name of its series, in which {{label}} is a value of a label.
type Query struct{ Expr, Legend string }

// object is a JSON object.
type object = map[string]any

// schemaVersion is that of Grafana 12.
const schemaVersion = 42

var source = object{"type": "prometheus", "uid": "${datasource}"}

// JSON returns the dashboard as Grafana imports it.
func (d Dashboard) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(object{
		"uid": d.UID, "title": "Sluice / " + d.Title, "description": d.About, "tags": []string{"sluice"},
		"schemaVersion": schemaVersion, "version": 1, "editable": true, "timezone": "browser", "graphTooltip": 1, // a shared cursor
		"refresh": "30s", "time": object{"from": "now-1h", "to": "now"},
		"templating":  object{"list": d.variables()},
		"annotations": object{"list": []any{}},
		"links": []any{object{
			"type": "dashboards", "title": "Sluice", "tags": []string{"sluice"}, "asDropdown": false, "includeVars": true, "keepTime": true, "targetBlank": false,
		}},
		"panels": d.panels(),
	}, "", "  ")
	return append(b, '\n'), err
}

func (d Dashboard) variables() []any {
	all := []any{object{
		"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0,
		"multi": false, "includeAll": false, "current": object{}, "options": []any{},
	}}
	for _, v := range d.Vars {
		query := fmt.Sprintf("label_values(%s, %s)", v.Metric, v.Of)
		one := object{
			"name": v.Name, "label": v.Label, "description": v.About, "type": "query", "datasource": source, "definition": query,
			"query":   object{"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
			"refresh": 2, "sort": 1, "hide": 0, "multi": v.Multi, "includeAll": v.Multi, "current": object{}, "options": []any{},
		}
		if v.Multi {
			one["current"] = object{"text": []string{"All"}, "value": []string{"$__all"}}
		}
		all = append(all, one)
	}
	return all
}

// The size of a panel, in units of Grafana: a dashboard is 24 wide.
const (
	width                   = 24
	valueWidth, valueHeight = 4, 4
	lineWidth, lineHeight   = 12, 8
)

func (d Dashboard) panels() []any {
	var all []any
	id, y := 0, 0
	place := func(x, w, h int) object { return object{"x": x, "y": y, "w": w, "h": h} }
	for _, r := range d.Rows {
		id++
		all = append(all, object{"id": id, "type": "row", "title": r.Title, "collapsed": false, "gridPos": place(0, width, 1), "panels": []any{}})
		y++
		x, height := 0, 0
		for _, p := range r.Panels {
			w, h := lineWidth, lineHeight
			if p.Kind == Value {
				w, h = valueWidth, valueHeight
			}
			if x+w > width || height != 0 && h != height {
				x, y = 0, y+height
			}
			id++
			one := p.json()
			one["id"], one["gridPos"] = id, place(x, w, h)
			all = append(all, one)
			x, height = x+w, h
		}
		y += height
	}
	return all
}

func (p Panel) json() object {
	var targets []any
	for i, q := range p.Queries {
		targets = append(targets, object{
			"refId": string(rune('A' + i)), "datasource": source, "editorMode": "code", "expr": q.Expr, "legendFormat": q.Legend,
			"range": p.Kind == Lines, "instant": p.Kind != Lines,
		})
	}
	defaults := object{"unit": p.Unit, "color": object{"mode": "palette-classic"}, "noValue": "none"}
	options := object{}
	reduce := object{"calcs": []string{"lastNotNull"}, "values": false, "fields": ""}
	switch p.Kind {
	case Lines:
		defaults["custom"] = object{"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false, "axisSoftMin": 0}
		options["legend"] = object{"displayMode": "table", "placement": "bottom", "showLegend": true, "calcs": []string{"lastNotNull", "max"}}
		options["tooltip"] = object{"mode": "multi", "sort": "desc"}
	case Value:
		defaults["color"] = object{"mode": "fixed", "fixedColor": "text"}
		options = object{"reduceOptions": reduce, "colorMode": "value", "graphMode": "none", "textMode": "auto", "justifyMode": "auto", "orientation": "auto"}
	case Bars:
		defaults["min"] = 0
		options = object{"reduceOptions": reduce, "orientation": "horizontal", "displayMode": "basic", "valueMode": "text", "showUnfilled": true}
	}
	return object{
		"type": string(p.Kind), "title": p.Title, "description": p.About, "datasource": source, "targets": targets, "options": options,
		"fieldConfig": object{"defaults": defaults, "overrides": []any{}},
	}
}

// quantiles returns queries for the median and the 99th percentile of a histogram. by are further labels that stay apart, as
// "class"; empty: none.
func quantiles(metric, by string) []Query {
	var all []Query
	for _, q := range []struct{ value, name string }{{"0.5", "median"}, {"0.99", "99 %"}} {
		labels, legend := "le", q.name
		if by != "" {
			labels, legend = "le, "+by, "{{"+by+"}} "+q.name
		}
		all = append(all, Query{fmt.Sprintf("histogram_quantile(%s, sum by (%s) (rate(%s_bucket[$__rate_interval])))", q.value, labels, metric), legend})
	}
	return all
}
