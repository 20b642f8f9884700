# METADATA
# title: AI training corpus under licence terms
# description: >-
#   A corpus is read part by part, /LICENCE/PURPOSE/PART. The licence says who may, for what, which parts, until when, and how
#   much at a time. The purpose stands in the path, so that it is signed, recorded, and proof of what the licensee claimed.
# schemas:
#   - input: schema.input
package agency.ai_corpus

# METADATA
# title: Is it an exchange of this class?
applies if input.agreement.class == "corpus"

# METADATA
# title: Licence, purpose and part that the path names
asked := {"licence": licence, "purpose": purpose, "part": part} if {
	["", licence, purpose, part] = split(input.request.path, "/")
}

# METADATA
# title: Terms of the licence
terms := data.ai_corpus.licences[asked.licence]

# METADATA
# title: What is not as it must be
# description: >-
#   Without a licence nothing else is worth saying.
refusals contains "corpus.licence_unknown" if {
	applies
	not terms
}

refusals contains "corpus.licensee_other" if {
	applies
	terms
	not licensee
}

refusals contains "corpus.licence_ended" if {
	applies
	terms
	not in_force
}

refusals contains "corpus.purpose_not_licensed" if {
	applies
	terms
	not asked.purpose in terms.purposes
}

refusals contains "corpus.part_not_licensed" if {
	applies
	terms
	not asked.part in terms.parts
}

refusals contains "corpus.volume_exceeded" if {
	applies
	terms
	not modest
}

# METADATA
# title: Is the consumer the licensee?
licensee if terms.licensee == input.request.client

# METADATA
# title: Has the licence not ended?
in_force if {
	is_number(terms.until_ms)
	input.now_ms < terms.until_ms
}

# METADATA
# title: Is the volume within a multiple of the caller's norm?
# description: >-
#   null: nobody knows the norm yet; then the bound on one answer is a small one.
modest if input.signals.volume_percent == null

modest if {
	is_number(input.signals.volume_percent)
	input.signals.volume_percent <= terms.max_volume_percent
}

# METADATA
# title: Volume, speed, and how often the licence is looked at while a part is read
duties["max_response_bytes"] := terms.max_part_bytes if {
	applies
	is_number(input.signals.volume_percent)
}

duties["max_response_bytes"] := terms.first_part_bytes if {
	applies
	input.signals.volume_percent == null
}

duties["max_bytes_per_second"] := terms.max_bytes_per_second if applies

duties["recheck_seconds"] := data.ai_corpus.recheck_seconds if applies

duties["read_only"] if applies
