package content

import "unicode"

// Meta, Cloud API, "Reaction messages".
var (
	reactedMissing = needed("reaction_message_id_empty", "A reaction names the message it is for.", "Give the wamid of a message that the person sent.")
	emojiMissing   = needed("reaction_emoji_missing", "A reaction has an emoji.", "Give one; an empty string takes an earlier reaction back.")
	emojiInvalid   = rule(Invalid, "reaction_emoji_invalid", "A reaction is one emoji.", "Give one emoji and nothing else; an empty string takes an earlier reaction back.")
)

func (n node) checkReaction() {
	if !n.object() {
		return
	}
	n.get("message_id").id(reactedMissing)
	emoji := n.get("emoji")
	if !emoji.present() {
		emoji.refuse(emojiMissing)
		return
	}
	if s, ok := emoji.text(); ok && s != "" && !oneEmoji([]rune(s)) {
		emoji.refuse(emojiInvalid)
	}
}

// Code points that make one emoji of several (Unicode, UTS #51).
const (
	joiner        = 0x200D
	keycap        = 0x20E3
	selectorText  = 0xFE0E
	selectorEmoji = 0xFE0F
)

// oneEmoji reports whether rs may be a single emoji. It goes by the form of emoji, not by the
// list of those there are: that list grows each year.
func oneEmoji(rs []rune) bool {
	if len(rs) == 2 && regional(rs[0]) && regional(rs[1]) {
		return true // a flag
	}
	for {
		size := element(rs)
		if size == 0 || size == len(rs) {
			return size > 0
		}
		if rs[size] != joiner {
			return false
		}
		rs = rs[size+1:]
	}
}

// element returns how many runes make up the first of the emoji that joiners join; 0: none.
func element(rs []rune) int {
	if len(rs) == 0 {
		return 0
	}
	key := rs[0] == '#' || rs[0] == '*' || rs[0] >= '0' && rs[0] <= '9'
	if !key && !pictograph(rs[0]) {
		return 0
	}
	size := 1
	for size < len(rs) && modifier(rs[size]) {
		size++
	}
	if key && rs[size-1] != keycap {
		return 0
	}
	return size
}

func regional(r rune) bool { return r >= 0x1F1E6 && r <= 0x1F1FF }

// modifier tells of what follows a pictograph: its look, its tone of skin, the tags of a
// flag, a keycap.
func modifier(r rune) bool {
	return r == selectorText || r == selectorEmoji || r == keycap ||
		r >= 0x1F3FB && r <= 0x1F3FF || r >= 0xE0020 && r <= 0xE007F
}

// pictograph takes every sign that is or may become an emoji.
func pictograph(r rune) bool {
	switch {
	case regional(r):
		return false
	case r >= 0x1F000 && r <= 0x1FAFF:
		return true
	case r == 0x203C, r == 0x2049, r == 0x2139, r == 0x3030, r == 0x303D: // no symbols to Unicode
		return true
	}
	return r >= 0xA9 && unicode.IsSymbol(r)
}
