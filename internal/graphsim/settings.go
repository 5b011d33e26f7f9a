package graphsim

import (
	"net/http"
	"strings"
)

// defaultSettings are the settings of a new number:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/reference/whatsapp-business-phone-number/settings-api
func defaultSettings() map[string]any {
	return map[string]any{
		"calling":               map[string]any{"status": "DISABLED", "call_icon_visibility": "DEFAULT", "callback_permission_status": "DISABLED"},
		"payload_encryption":    map[string]any{"status": "DISABLED"},
		"storage_configuration": map[string]any{"status": "DEFAULT"},
	}
}

// settable are the settings that a call can change, one in each call.
var settable = []string{"calling", "user_identity_change", "payload_encryption", "storage_configuration", "fallback_language"}

// getSettings answers GET /{version}/{number}/settings.
func (s *Sim) getSettings(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, _ string, _ parameters) (any, *denial) { return shown(n.settings), nil })(w, r)
}

// setSettings answers POST /{version}/{number}/settings.
func (s *Sim) setSettings(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, _ string, p parameters) (any, *denial) {
		changed := 0
		for _, name := range settable {
			value, given := p[name]
			if !given {
				continue
			}
			changed++
			now, _ := n.settings[name].(map[string]any)
			more, isObject := value.(map[string]any)
			if !isObject {
				n.settings[name] = value
				continue
			}
			now = shown(now)
			if now == nil {
				now = map[string]any{}
			}
			for member, v := range more {
				now[member] = v
			}
			n.settings[name] = now
		}
		if changed == 0 {
			return nil, invalid("Invalid parameter")
		}
		return done, nil
	})(w, r)
}

// getCommerce answers GET /{version}/{number}/whatsapp_commerce_settings.
func (s *Sim) getCommerce(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, id string, _ parameters) (any, *denial) {
		all := shown(n.commerce)
		all["id"] = numberOf("commerce" + id)
		return map[string]any{"data": []any{all}}, nil
	})(w, r)
}

// setCommerce answers POST /{version}/{number}/whatsapp_commerce_settings.
func (s *Sim) setCommerce(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, _ string, p parameters) (any, *denial) {
		for _, name := range []string{"is_cart_enabled", "is_catalog_visible"} {
			if value, given := p[name]; given {
				on, ok := value.(bool)
				if !ok {
					return nil, invalid("Param " + name + " must be a boolean.")
				}
				n.commerce[name] = on
			}
		}
		return done, nil
	})(w, r)
}

// setAutomation answers POST /{version}/{number}/conversational_automation.
func (s *Sim) setAutomation(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, _ string, p parameters) (any, *denial) {
		for _, name := range []string{"enable_welcome_message", "prompts", "commands"} {
			if value, given := p[name]; given {
				n.automation[name] = value
			}
		}
		return done, nil
	})(w, r)
}

// automationOf returns the conversational components of a number.
func (s *Sim) automationOf(number string) map[string]any {
	s.assets.mu.Lock()
	defer s.assets.mu.Unlock()
	all := shown(s.assets.of(number).automation)
	all["id"] = numberOf("automation" + number)
	return all
}

// getEncryption answers GET /{version}/{number}/whatsapp_business_encryption.
func (s *Sim) getEncryption(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, _ string, _ parameters) (any, *denial) { return shown(n.encryption), nil })(w, r)
}

// setEncryption answers POST /{version}/{number}/whatsapp_business_encryption.
func (s *Sim) setEncryption(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, _ string, p parameters) (any, *denial) {
		key := p.text("business_public_key")
		if !strings.HasPrefix(key, "-----BEGIN PUBLIC KEY-----") {
			return nil, required("business_public_key")
		}
		n.encryption = map[string]any{"business_public_key": key, "business_public_key_signature_status": "VALID"}
		return done, nil
	})(w, r)
}

// changeNode answers POST /{version}/{id}: it changes a template or a flow, or sets the PIN, the name or the callback URL of a number.
func (s *Sim) changeNode(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if t := s.standing.Load().templateByID(id); t != nil {
		s.editTemplate(w, r, t)
		return
	}
	if s.assets.hasFlow(id) {
		s.editFlow(w, r)
		return
	}
	number, ok := s.ofNumber(w, r, scopeManagement)
	if !ok {
		return
	}
	p, ok := s.params(w, r)
	if !ok {
		return
	}
	hook, _ := p["webhook_configuration"].(map[string]any)
	known := s.standing.Load().Numbers != nil // else every number exists, and none has settings
	switch {
	case p["pin"] != nil && !pinForm.MatchString(p.text("pin")):
		s.deny(w, invalid("Param pin must be 6 characters long."))
		return
	case p["pin"] != nil && known:
		s.change(func(a *Account) error { a.number(number.ID).PIN = p.text("pin"); return nil })
	case hook != nil && known:
		callback, _ := hook["override_callback_uri"].(string)
		if err := s.change(func(a *Account) error { a.number(number.ID).Callback = callback; return nil }); err != nil {
			s.refuse(w, 1, err.Error())
			return
		}
	}
	s.succeed(w, done)
}
