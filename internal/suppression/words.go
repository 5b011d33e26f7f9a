package suppression

import (
	"strings"
	"unicode"
)

// Words are the words with which people stop and resume marketing messages. A message counts only if it is one of them as a whole,
// without regard to case, punctuation and spaces around it.
type Words struct {
	stop, start map[string]bool
}

// WordChanges are what a configuration adds to the words of a kind, and what it removes from them.
type WordChanges struct{ Add, Remove []string }

// stopWords are by language, in the order of the language codes; iw is Hebrew. They are what the carriers' rules for text messages demand in a
// language, and what Meta's templates have on their opt-out buttons.
var stopWords = map[string][]string{
	"ar": {"توقف", "ايقاف", "إيقاف", "الغاء الاشتراك", "إلغاء الاشتراك"},
	"bn": {"বন্ধ", "বন্ধ করুন"},
	"cs": {"stop", "odhlásit", "odhlasit"},
	"da": {"stop", "afmeld", "frameld"},
	"de": {"stop", "stopp", "stoppen", "abmelden", "abbestellen", "werbung stoppen", "keine werbung"},
	"el": {"στοπ", "διακοπή"},
	"en": {"stop", "stop all", "stopall", "stop promotions", "stop marketing", "unsubscribe", "opt out", "optout", "opt-out"},
	"es": {"stop", "alto", "baja", "parar", "darse de baja", "darme de baja", "cancelar suscripción", "cancelar suscripcion", "detener promociones"},
	"fi": {"stop", "seis", "lopeta"},
	"fr": {"stop", "arrêt", "arret", "arrêter", "arreter", "désabonner", "desabonner", "se désabonner", "se desabonner", "stop promo"},
	"iw": {"הסר", "הסרה", "עצור"},
	"hi": {"रोकें", "बंद करें", "बंद"},
	"hu": {"stop", "leiratkozás", "leiratkozas"},
	"id": {"stop", "berhenti", "berhenti berlangganan"},
	"it": {"stop", "ferma", "cancellami", "disiscrivimi", "annulla iscrizione"},
	"ja": {"停止", "配信停止", "解除"},
	"ko": {"중지", "수신거부", "수신 거부"},
	"ms": {"stop", "berhenti", "henti"},
	"nl": {"stop", "stoppen", "afmelden", "uitschrijven"},
	"no": {"stopp", "stop", "avmeld"},
	"pl": {"stop", "wypisz", "rezygnuję", "rezygnuje"},
	"pt": {"stop", "sair", "parar", "pare", "cancelar inscrição", "cancelar inscricao", "descadastrar", "parar promoções", "parar promocoes"},
	"ro": {"stop", "dezabonare", "dezabonează-mă"},
	"ru": {"стоп", "отписаться", "отписка", "хватит рекламы"},
	"sv": {"stopp", "stop", "avregistrera", "avsluta prenumeration"},
	"th": {"หยุด", "หยุดส่ง"},
	"tr": {"dur", "durdur", "ret", "abonelikten çık"},
	"uk": {"стоп", "відписатися"},
	"ur": {"بند کریں", "روکیں"},
	"vi": {"dừng", "từ chối", "tu choi"},
	"zh": {"停止", "退订", "退訂", "取消订阅", "取消訂閱", "td"},
}

var startWords = map[string][]string{
	"ar": {"ابدأ", "اشتراك"},
	"cs": {"start", "přihlásit", "prihlasit"},
	"da": {"start", "tilmeld"},
	"de": {"start", "anmelden", "abonnieren"},
	"en": {"start", "unstop", "subscribe", "resubscribe", "opt in", "optin", "opt-in"},
	"es": {"start", "alta", "suscribir", "suscribirme"},
	"fi": {"start", "aloita"},
	"fr": {"start", "abonner", "s'abonner", "reprendre"},
	"iw": {"הצטרף", "התחל"},
	"hi": {"शुरू करें", "शुरू"},
	"hu": {"start", "feliratkozás", "feliratkozas"},
	"id": {"start", "mulai", "berlangganan"},
	"it": {"start", "iscrivimi"},
	"ja": {"開始", "配信再開"},
	"ko": {"시작", "수신동의"},
	"ms": {"start", "mula"},
	"nl": {"start", "aanmelden"},
	"no": {"start", "påmeld"},
	"pl": {"start", "zapisz"},
	"pt": {"start", "inscrever", "quero receber"},
	"ro": {"start", "abonare"},
	"ru": {"старт", "подписаться"},
	"sv": {"start", "anmäl"},
	"th": {"เริ่ม"},
	"tr": {"başla", "basla", "abone ol"},
	"uk": {"старт", "підписатися"},
	"vi": {"bắt đầu", "bat dau"},
	"zh": {"开始", "開始", "订阅", "訂閱"},
}

// NewWords returns the words of all languages with the changes of a configuration.
func NewWords(stop, start WordChanges) Words {
	return Words{set(stopWords, stop), set(startWords, start)}
}

func set(byLanguage map[string][]string, c WordChanges) map[string]bool {
	all := map[string]bool{}
	for _, some := range byLanguage {
		for _, w := range some {
			all[plain(w)] = true
		}
	}
	for _, w := range c.Add {
		all[plain(w)] = true
	}
	for _, w := range c.Remove {
		delete(all, plain(w))
	}
	delete(all, "")
	return all
}

// meaning returns whether one of some texts is a stop word or a start word as a whole. A stop word counts first.
func (w Words) meaning(texts []string) (stop, known bool) {
	for _, text := range texts {
		if len(text) > longestWord {
			continue
		}
		switch word := plain(text); {
		case w.stop[word]:
			return true, true
		case w.start[word]:
			known = true
		}
	}
	return false, known
}

// Stop reports whether one of some texts of a message is a stop word as a whole.
func (w Words) Stop(texts []string) bool {
	stop, _ := w.meaning(texts)
	return stop
}

// Word returns the word that a text is as a whole, in the form in which words are compared; empty: it is too long to be one.
func Word(text string) string {
	if len(text) > longestWord {
		return ""
	}
	return plain(text)
}

// longestWord bounds the bytes of a text that may be a word.
const longestWord = 200

// plain returns a text in lower case, with only letters, marks and digits, and a single space between words. Marks and the joiners of
// some scripts belong to their letters.
func plain(text string) string {
	lower := strings.ReplaceAll(strings.ToLower(text), "i\u0307", "i") // of the Turkish capital letter
	return strings.Join(strings.FieldsFunc(lower, func(r rune) bool {
		return !unicode.In(r, unicode.L, unicode.M, unicode.N)
	}), " ")
}
