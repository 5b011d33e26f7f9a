package ratelimit

// Guard lets tests know guard.
const Guard = guard
