package cloudapi

import (
	"context"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/message"
)

// templateFields are the members of a template that Sluice needs.
const templateFields = "id,name,language,status,category,quality_score,parameter_format,components"

// templatePage is how many templates one request asks for. An answer of this length stays below maxList.
const templatePage = "100"

// maxList is the maximum size of an answer with a list, in bytes.
const maxList = 8 << 20

// Templates returns a page of the templates of an account, from a cursor; empty: the first page. With the ETag of an earlier
// answer for the same cursor, Meta answers without content when nothing changed. It uses the access token of a number of the
// account. A Refusal has Meta's error.
//
// The Graph API has no filter "changed since" for this list. ETag and If-None-Match are of the Graph API in general: a request
// counts for Meta's limits whether or not the answer has content.
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account/message_templates
func (c *Client) Templates(ctx context.Context, number, account, after, etag string) (page message.TemplatePage, err error) {
	token, err := c.tokenOf(number)
	if err != nil {
		return page, err
	}
	query := url.Values{"fields": {templateFields}, "limit": {templatePage}}
	if after != "" {
		query.Set("after", after)
	}
	var list struct {
		Data   []metaTemplate
		Paging struct {
			Cursors struct{ After string }
			Next    string
		}
	}
	a, err := c.fetch(ctx, token, account+"/message_templates?"+query.Encode(), etag, &list)
	if err != nil {
		return page, err
	}
	page = message.TemplatePage{ETag: a.etag, Unchanged: a.unchanged, Bytes: a.size}
	for _, t := range list.Data {
		page.Templates = append(page.Templates, t.compact())
	}
	if list.Paging.Next != "" {
		page.Next = list.Paging.Cursors.After
	}
	return page, nil
}

// metaTemplate is Meta's description of a template.
type metaTemplate struct {
	ID, Name, Language, Status, Category string
	Quality                              struct{ Score string } `json:"quality_score"`
	Format                               string                 `json:"parameter_format"`
	Components                           []metaComponent
}

// metaComponent is a component of a template.
type metaComponent struct {
	Type, Format, Text string
	Buttons            []struct{ Type, URL string }
	Cards              []struct{ Components []metaComponent }
}

// compact returns what Sluice keeps of a template.
func (t metaTemplate) compact() message.Template {
	kept := message.Template{
		ID: t.ID, Name: t.Name, Language: strings.ReplaceAll(t.Language, "-", "_"), Status: strings.ToUpper(t.Status), Category: strings.ToUpper(t.Category),
		Quality: strings.ToUpper(t.Quality.Score), Named: strings.EqualFold(t.Format, "NAMED"),
	}
	if t.Components != nil {
		parts := partsOf(t.Components, kept.Category == "AUTHENTICATION")
		kept.Parts = &parts
	}
	return kept
}

// partsOf returns what messages have parameters for. Of an authentication template Meta writes the text itself, and the code
// is its one parameter.
func partsOf(components []metaComponent, authentication bool) (p message.TemplateParts) {
	for _, c := range components {
		switch strings.ToUpper(c.Type) {
		case "HEADER":
			if p.Header = strings.ToUpper(c.Format); p.Header == "" || p.Header == "TEXT" {
				p.Header, p.HeaderNames = "TEXT", variables(c.Text)
			}
		case "BODY":
			if p.Body = variables(c.Text); authentication {
				p.Body = []string{"1"}
			}
		case "BUTTONS":
			for _, b := range c.Buttons {
				p.Buttons = append(p.Buttons, message.TemplateButton{Type: strings.ToUpper(b.Type), Variable: strings.Contains(b.URL, "{{")})
			}
		case "LIMITED_TIME_OFFER":
			p.Offer = true
		case "CAROUSEL":
			for _, card := range c.Cards {
				p.Cards = append(p.Cards, partsOf(card.Components, false))
			}
		}
	}
	return p
}

var templateVariable = regexp.MustCompile(`\{\{\s*([A-Za-z0-9_]+)\s*\}\}`)

// variables returns the names of the variables of a text, each once.
func variables(text string) (names []string) {
	for _, found := range templateVariable.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, found[1]) {
			names = append(names, found[1])
		}
	}
	return names
}

// TemplateChanged returns what an update event says of a template. It is false for events about something else. Of a change of
// the components it has no more than the name: the list has the rest.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference
func TemplateChanged(e message.Event) (message.TemplateChange, bool) {
	var v struct {
		Event    string `json:"event"`
		Name     string `json:"message_template_name"`
		Language string `json:"message_template_language"`
		Category string `json:"message_template_category"`
		Quality  string `json:"new_quality_score"`
		New      string `json:"new_category"`
		Previous string `json:"previous_category"`
		Other    struct {
			Title string `json:"title"`
		} `json:"other_info"`
	}
	json.Unmarshal(e.Meta, &v) // members of other types stay empty
	change := message.TemplateChange{Name: v.Name, Language: strings.ReplaceAll(v.Language, "-", "_")}
	switch e.Field {
	case "message_template_status_update":
		change.Category = v.Category
		switch change.Status = v.Event; {
		case v.Event == "REINSTATED", v.Other.Title == "UNPAUSE":
			change.Status = "APPROVED"
		case v.Event == "FLAGGED": // a warning: Meta still takes its messages
			change.Status = ""
		}
	case "message_template_quality_update":
		change.Quality = v.Quality
	case "template_category_update":
		if v.Previous != "" { // else Meta announces a later change, and new_category is the current one
			change.Category = v.New
		}
	case "message_template_components_update":
	default:
		return change, false
	}
	return change, v.Name != ""
}

// TemplateState returns what the status of a template means for its messages, as an announcement of the status would. It is
// false if it changes nothing.
func TemplateState(id, status string) (Announcement, bool) {
	a := Announcement{Template: id, Event: status}
	switch status {
	case "APPROVED":
		return a, true
	case "PAUSED":
		a.Hold, a.For = true, otherPause
		return a, true
	}
	a.Hold = slices.Contains(endedStatuses, status)
	return a, a.Hold
}

// endedStatuses are the statuses in which Meta takes no messages of a template, until it says so or for ever.
var endedStatuses = []string{"DISABLED", "REJECTED", "ARCHIVED", "PENDING_DELETION", "DELETED", "LIMIT_EXCEEDED"}
