package ai_corpus_test

import data.troad.admission_test
import data.troad.exchange

verdict(facts) := result if result := exchange.decision with input as facts

changed(facts, changes) := admission_test.changed(facts, changes)

licensee := changed(admission_test.at_consumer, {
	"/agreement/class": "corpus",
	"/agreement/methods": ["*"],
	"/agreement/paths": ["**"],
	"/request/path": "/L-2026-001/pretraining/news-zh-01",
	"/signals/volume_percent": 100,
})

newcomer := changed(licensee, {"/signals/volume_percent": null})

terms := data.ai_corpus.licences["L-2026-001"]

test_allows if {
	result := verdict(licensee)
	result.allow == true
	result.obligations.max_response_bytes == terms.max_part_bytes
	result.obligations.max_bytes_per_second == terms.max_bytes_per_second
	result.obligations.recheck_seconds == 30
	result.obligations.read_only == true
}

test_newcomers_get_little if {
	result := verdict(newcomer)
	result.allow == true
	result.obligations.max_response_bytes == terms.first_part_bytes
	terms.first_part_bytes < terms.max_part_bytes
}

refusals := [
	[{"/request/path": "/L-2026-999/pretraining/news-zh-01"}, ["corpus.licence_unknown"]],
	[{"/request/path": "/L-2026-001"}, ["corpus.licence_unknown"]],
	[{"/request/path": "/L-2026-001/pretraining/news-zh-01/x"}, ["corpus.licence_unknown"]],
	[{"/request/path": "/L-2026-002/evaluation/law-zh-01"}, ["corpus.licensee_other"]],
	[{"/request/path": "/L-2026-001/advertising/news-zh-01"}, ["corpus.purpose_not_licensed"]],
	[{"/request/path": "/L-2026-001/pretraining/health-zh-01"}, ["corpus.part_not_licensed"]],
	[{"/signals/volume_percent": 301}, ["corpus.volume_exceeded"]],
]

test_refuses if {
	every refusal in refusals {
		result := verdict(changed(licensee, refusal[0]))
		result.allow == false
		result.reasons == refusal[1]
	}
}

test_refuses_after_the_end if {
	late := changed(licensee, {"/now_ms": terms.until_ms, "/agreement/until_ms": terms.until_ms + 1})
	verdict(late).reasons == ["corpus.licence_ended"]
	verdict(changed(late, {"/now_ms": terms.until_ms - 1})).allow == true
}

test_other_classes_are_left_alone if {
	every refusal in refusals {
		verdict(changed(changed(licensee, {"/agreement/class": "general"}), refusal[0])).allow == true
	}
}
