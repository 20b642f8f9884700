# METADATA
# title: Weather feed
# description: >-
#   Public data in many small pieces, /PRODUCT/STATION. Everybody with an agreement may read; what is refused is what nobody
#   needs who only wants to know the weather.
# schemas:
#   - input: schema.input
package agency.weather

# METADATA
# title: Is it an exchange of this class?
applies if input.agreement.class == "weather"

# METADATA
# title: What is not as it must be
refusals contains "weather.write_refused" if {
	applies
	not reads
}

refusals contains "weather.product_unknown" if {
	applies
	not product_known
}

refusals contains "weather.rate_exceeded" if {
	applies
	not unhurried
}

# METADATA
# title: Does it only read?
reads if input.request.method in {"GET", "HEAD"}

# METADATA
# title: Is it one station's piece of one product?
product_known if {
	["", product, station] = split(input.request.path, "/")
	product in data.weather.products
	count(station) == data.weather.station_characters
}

# METADATA
# title: Is the caller within a multiple of its own norm?
# description: >-
#   null: a newcomer, whose norm nobody knows yet. For public data that is no reason to refuse.
unhurried if input.signals.rate_percent == null

unhurried if {
	is_number(input.signals.rate_percent)
	input.signals.rate_percent <= data.weather.max_rate_percent
}

# METADATA
# title: Small pieces stay small
duties["max_response_bytes"] := data.weather.max_response_bytes if applies

duties["read_only"] if applies
