package pacing

// Guard lets tests know guard.
const Guard = guard
