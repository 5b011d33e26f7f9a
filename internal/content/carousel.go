package content

import "strings"

// Meta, Cloud API, "Interactive media carousel messages" and "Interactive product carousel
// messages".
var (
	cardCount      = between(2, 10, "cards", "cards")
	cardIndex      = rule(Invalid, "card_index_invalid", "A card's index is 0 to 9.", "Count the cards from 0.")
	cardIndexTwice = rule(Invalid, "card_index_duplicate", "Each card has an index of its own.", "Count the cards from 0.")
	cardsDiffer    = rule(Invalid, "cards_differ", "The cards of a message are all alike: the same type, the same type of header, the same kind of button, products of one catalog.", "Make this card like the first, or send it in a message of its own.")
	cardHeader     = needed("card_header_missing", "A card has a header with an image or a video.", "Add one.")
	cardBody       = atMost(160, "card_body", "card's body")
	cardLines      = rule(Invalid, "card_body_lines", "A card's body has at most 2 line breaks.", "Remove the others.")
	cardAction     = needed("card_action_missing", "A card has an action.", "Add the card's button or product.")
)

func (n node) checkCarousel() {
	var first shape
	indexes := map[int64]bool{}
	for _, card := range n.get("cards").counted(cardCount) {
		card.checkCardIndex(indexes)
		s := shape{card: card.get("type").neededOneOf("cta_url", "product")}
		switch s.card {
		case "product":
			s.catalog = card.checkProductCard()
		case "cta_url":
			s.header, s.button = card.checkMediaCard()
		default:
			continue
		}
		if first.card == "" {
			first = s
		} else if !s.like(first) {
			card.refuse(cardsDiffer)
		}
	}
}

// shape is what the cards of a carousel have in common.
type shape struct{ card, header, button, catalog string }

// like reports whether two cards are alike in what both have. What one lacks is a problem
// already.
func (s shape) like(other shape) bool {
	same := func(a, b string) bool { return a == b || a == "" || b == "" }
	return s.card == other.card && same(s.header, other.header) && same(s.button, other.button) && same(s.catalog, other.catalog)
}

func (n node) checkCardIndex(seen map[int64]bool) {
	index := n.get("card_index")
	i, ok := index.whole(0, 9, cardIndex)
	if ok && seen[i] {
		index.refuse(cardIndexTwice)
	}
	seen[i] = ok
}

func (n node) checkProductCard() (catalog string) {
	action := n.get("action")
	if !action.neededObject(cardAction) {
		return ""
	}
	action.checkProduct()
	return action.get("catalog_id").bare()
}

func (n node) checkMediaCard() (header, button string) {
	if h := n.get("header"); h.neededObject(cardHeader) {
		header = h.get("type").neededOneOf("image", "video")
		if header == "image" || header == "video" {
			h.get(header).checkMedia(header)
		}
	}
	if body := n.get("body"); body.object() {
		if text := body.get("text"); strings.Count(text.within(cardBody), "\n") > 2 {
			text.refuse(cardLines)
		}
	}
	action := n.get("action")
	switch {
	case !action.neededObject(cardAction):
	case action.get("buttons").present():
		button = "quick_reply"
		action.get("buttons").checkReplies(button)
	default:
		button = "cta_url"
		action.checkURLButton()
	}
	return header, button
}
