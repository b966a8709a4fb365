"""The population: many identities, a market in arrays, and the product's own formulas."""
