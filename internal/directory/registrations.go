package directory

import (
	"context"
	"crypto/rand"
	_ "embed"
	"fmt"
	"time"

	"sluice/internal/store"
)

//go:embed registrations.lua
var registrationsLua string

// Meta accepts so many registrations and deregistrations of a number within a time (code 133016).
// https://developers.facebook.com/documentation/business-messaging/whatsapp/reference/whatsapp-business-phone-number/register-api
const (
	registrationsMost   = 10
	registrationsWithin = 72 * time.Hour
)

// Registrations counts the registrations of numbers at Meta. It is safe for concurrent use.
type Registrations struct {
	db    *store.DB
	count store.Script
}

// NewRegistrations returns the Registrations of an installation.
func NewRegistrations(db *store.DB) *Registrations {
	return &Registrations{db, db.Script(registrationsLua)}
}

// Count counts a registration or deregistration of a number. It returns zero, or how long to wait for the next one.
func (r *Registrations) Count(ctx context.Context, number string) (time.Duration, error) {
	wait, err := r.db.Run(ctx, r.count, []string{store.Key(place, "registrations:"+number)}, registrationsMost, registrationsWithin.Milliseconds(), rand.Text()).Int64()
	if err != nil {
		return 0, fmt.Errorf("count the registrations of a number: %w", err)
	}
	return time.Duration(wait) * time.Millisecond, nil
}
