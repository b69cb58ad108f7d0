#include "common/helper.h"
#include "tpm/token.h"

int main(int argc, char **argv)
{
	return helper_main(&tpm_token_ops, "tokend-tpm", argc, argv);
}
