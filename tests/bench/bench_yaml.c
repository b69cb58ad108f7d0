/* The floor for decrypting a large YAML file: all events of it as libfyaml gives them, and nothing done with them. usage: bench_yaml FILE */
#include <libfyaml.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct fy_parse_cfg settings = { .flags = FYPCF_QUIET | FYPCF_SLOPPY_FLOW_INDENTATION };
	struct fy_parser *parser = argc == 2 ? fy_parser_create(&settings) : NULL;
	struct fy_event *event;
	unsigned long count = 0;

	if (!parser || fy_parser_set_input_file(parser, argv[1])) {
		(void)fprintf(stderr, "usage: bench_yaml FILE\n");
		return 2;
	}
	while ((event = fy_parser_parse(parser))) {
		count++;
		fy_parser_event_free(parser, event);
	}
	fy_parser_destroy(parser);
	(void)printf("%lu events\n", count);
	return count ? 0 : 1;
}
