package filter

import "strings"

// nearest is the word that somebody may have meant, empty if none is near.
func nearest(s string, words []string) string {
	s = strings.ToLower(s)
	best, least := "", 3
	for _, w := range words {
		if len(s) >= 3 && strings.HasPrefix(strings.ToLower(w), s) {
			return w
		}
		if d := distance(s, strings.ToLower(w)); d < least && d < len(w) {
			best, least = w, d
		}
	}
	return best
}

// distance is how many letters must be put in, taken out or changed. It looks at
// short words only.
func distance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
