/* An archive needs at least one member. */
typedef int oblako_empty;
