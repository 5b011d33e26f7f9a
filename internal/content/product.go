package content

// Meta, Cloud API, "Single- and multi-product messages", "Catalog messages".
var (
	catalogMissing      = needed("catalog_id_empty", "Products are named with their catalog.", "Give the id of the catalog that is connected to the account.")
	productMissing      = needed("product_retailer_id_empty", "A product is named by its id in the catalog.", "Give its content id as the Commerce Manager shows it.")
	productCount        = between(0, 30, "products", "products in all sections together")
	productsMissing     = needed("products_missing", "A section has at least one product.", "Add a product, or remove the section.")
	productSectionTitle = atMost(24, "product_section_title", "section title")
	productSectionNamed = needed("product_section_title_empty", "Where there are several sections, each has a title.", "Give it 1 to 24 characters.")
)

func (n node) checkProduct() {
	n.get("catalog_id").id(catalogMissing)
	n.get("product_retailer_id").id(productMissing)
}

func (n node) checkProductList() {
	n.get("catalog_id").id(catalogMissing)
	n.get("sections").checkProductSections()
}

func (n node) checkProductSections() {
	several, _ := n.length()
	count := 0
	for _, section := range n.counted(sectionCount) {
		if title := section.get("title"); blank(title.within(productSectionTitle)) && several > 1 {
			title.refuse(productSectionNamed)
		}
		items := section.get("product_items")
		count += items.filled(productsMissing)
		for _, item := range items.objects() {
			item.get("product_retailer_id").id(productMissing)
		}
	}
	productCount.check(n, count)
}

func (n node) checkCatalog() {
	n.checkName("catalog_message")
	if p := n.get("parameters"); p.object() {
		p.checkThumbnail()
	}
}

// checkThumbnail checks the product whose picture stands for all; without one it is the
// catalog's first.
func (n node) checkThumbnail() {
	if thumbnail := n.get("thumbnail_product_retailer_id"); thumbnail.present() {
		thumbnail.id(productMissing)
	}
}
