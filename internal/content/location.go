package content

import "strconv"

// Meta, Cloud API, "Location messages".
var (
	latitudeInvalid  = rule(Invalid, "latitude_invalid", "A latitude is -90 to 90 degrees.", "Give decimal degrees, as a number or a string.")
	longitudeInvalid = rule(Invalid, "longitude_invalid", "A longitude is -180 to 180 degrees.", "Give decimal degrees, as a number or a string.")
	locationMissing  = needed("location_missing", "The location is missing.", "Give an object with latitude and longitude.")
)

func (n node) checkLocation() {
	if !n.object() {
		return
	}
	n.get("latitude").degrees(90, latitudeInvalid)
	n.get("longitude").degrees(180, longitudeInvalid)
	n.texts("name", "address")
}

func (n node) degrees(most float64, broken *Rule) {
	if degrees, err := strconv.ParseFloat(n.numeral(), 64); err != nil || degrees < -most || degrees > most {
		n.refuse(broken)
	}
}
