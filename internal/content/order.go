package content

import "strings"

// Meta, Cloud API, "Payments": order details and order status messages.
var (
	referenceInvalid = rule(Invalid, "order_reference_invalid", "An order's reference has 1 to 35 letters, digits, underscores, dashes and full stops.", "Use the order's number.")
	currencyInvalid  = rule(Invalid, "currency_invalid", "A currency is three capital letters.", `Give its ISO 4217 code, for example INR.`)
	amountMissing    = needed("order_amount_missing", "An amount is missing.", "Give an object with value and offset.")
	amountInvalid    = rule(Invalid, "order_amount_invalid", "An amount's value is a whole number of the smallest unit, not less than 0.", "Write 12.34 as value 1234 and offset 100.")
	offsetInvalid    = rule(Invalid, "order_offset_invalid", "An amount's offset is 100.", "Write 12.34 as value 1234 and offset 100.")
	totalDiffers     = rule(Invalid, "order_total_differs", "The total amount is subtotal plus tax plus shipping minus discount.", "Correct the sums.")
	orderMissing     = needed("order_missing", "The order is missing.", "Add the object order.")
	itemsMissing     = needed("order_items_missing", "An order has at least one item.", "List what is ordered in items.")
	itemName         = required(60, "order_item_name", "item's name")
	quantityInvalid  = rule(Invalid, "order_quantity_invalid", "An item's quantity is a whole number, at least 1.", "Give how many there are.")
	amountNote       = atMost(60, "order_amount_description", "amount's description")
	statusNote       = atMost(120, "order_description", "description of the order's status")
)

// mostMoney is more than anything costs, and small enough to add up.
const mostMoney = 1e15

func (n node) checkOrderDetails() {
	if p, ok := n.parameters("review_and_pay"); ok {
		p.checkPayment()
	}
}

// checkPayment checks an order that is to be paid, of a message or of a template's button.
func (n node) checkPayment() {
	n.get("reference_id").checkReference()
	n.get("type").neededOneOf("digital-goods", "physical-goods")
	n.get("currency").checkCurrency()
	total, ok := n.get("total_amount").amount()
	order := n.get("order")
	if n.get("currency").bare() == "BRL" && !order.present() { // Meta, Cloud API, "Payments", Brazil
		return
	}
	if !order.neededObject(orderMissing) {
		return
	}
	order.get("status").neededOneOf("pending")
	order.checkItems()
	sum, summed := order.get("subtotal").amount()
	for _, name := range []string{"tax", "shipping", "discount"} {
		part := order.get(name)
		if !part.present() {
			continue
		}
		value, ok := part.amount()
		part.get("description").within(amountNote)
		if name == "discount" {
			value = -value
		}
		sum, summed = sum+value, summed && ok
	}
	if ok && summed && total != sum {
		n.get("total_amount").refuse(totalDiffers)
	}
}

func (n node) checkItems() {
	items := n.get("items")
	items.filled(itemsMissing)
	for _, item := range items.objects() {
		item.get("name").within(itemName)
		item.get("amount").amount()
		if sale := item.get("sale_amount"); sale.present() {
			sale.amount()
		}
		item.get("quantity").whole(1, mostMoney, quantityInvalid)
	}
}

func (n node) amount() (int64, bool) {
	if !n.neededObject(amountMissing) {
		return 0, false
	}
	n.get("offset").whole(100, 100, offsetInvalid)
	return n.get("value").whole(0, mostMoney, amountInvalid)
}

func (n node) checkReference() {
	s, ok := n.text()
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.", r))
	}
	if ok && (s == "" || len(s) > 35 || strings.ContainsFunc(s, odd)) {
		n.refuse(referenceInvalid)
	}
}

func (n node) checkCurrency() {
	if s, ok := n.text(); ok && (len(s) != 3 || !only(s, 'A', 'Z')) {
		n.refuse(currencyInvalid)
	}
}

func (n node) checkOrderStatus() {
	p, ok := n.parameters("review_order")
	if !ok {
		return
	}
	p.get("reference_id").checkReference()
	if order := p.get("order"); order.neededObject(orderMissing) {
		// Meta's page spells one of them in two ways.
		order.get("status").neededOneOf("pending", "processing", "partially_shipped", "partially-shipped", "shipped", "completed", "canceled")
		order.get("description").within(statusNote)
	}
}
